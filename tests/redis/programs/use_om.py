"""The HashModel of redis-om. Given the port of a server; says ``well``."""

# mypy: ignore-errors

import sys

import redis
from redis_om import HashModel, NotFoundError


class Person(HashModel, index=True):
    name: str
    age: int

    class Meta:
        database = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
        global_key_prefix = "made"


made = [Person(name=name, age=age).save() for name, age in (("Ann", 30), ("Bob", 40))]
assert Person.get(made[0].pk).name == "Ann"
assert sorted(Person.all_pks()) == sorted(each.pk for each in made)
made[1].update(age=41)
assert Person.get(made[1].pk).age == 41
made[0].expire(1000)
assert 0 < Person.db().ttl(Person.make_primary_key(made[0].pk)) <= 1000
assert Person.delete(made[0].pk) == 1
try:
    Person.get(made[0].pk)
    raise AssertionError("it is still there")
except NotFoundError:
    pass
print("well")
