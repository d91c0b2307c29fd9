const { Queue, Worker, QueueEvents } = require('bullmq');
const Bull = require('bull');
const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const same = (a, b) => { if (JSON.stringify(a) !== JSON.stringify(b)) throw new Error(`${JSON.stringify(a)} is not ${JSON.stringify(b)}`); };
const bullmq = async () => {
  const queue = new Queue('made', { connection }), events = new QueueEvents('made', { connection });
  await events.waitUntilReady();
  const worker = new Worker('made', async job => job.data + 1, { connection, concurrency: 3 });
  const jobs = await queue.addBulk([...Array(20).keys()].map(data => ({ name: 'add', data })));
  same(await Promise.all(jobs.map(job => job.waitUntilFinished(events, 30000))), [...Array(20).keys()].map(n => n + 1));
  const late = await queue.add('add', 1, { delay: 200, priority: 5 });
  same(await late.waitUntilFinished(events, 30000), 2);
  const { completed, failed, waiting } = await queue.getJobCounts('completed', 'failed', 'waiting');
  same([completed, failed, waiting], [21, 0, 0]);
  for (const each of [worker, events, queue]) await each.close();
};
const bull = async () => {
  const queue = new Bull('made', { redis: { host: '127.0.0.1', port: connection.port } });
  queue.process(async job => job.data.n + 1);
  const jobs = await Promise.all([...Array(20).keys()].map(n => queue.add({ n })));
  same(await Promise.all(jobs.map(job => job.finished())), [...Array(20).keys()].map(n => n + 1));
  await queue.close();
};
bullmq().then(bull).then(() => { console.log('well'); process.exit(0); }, error => { console.error(error); process.exit(1); });
