// Pictures follow the page's own switch between light and dark, too, not only the system's setting.
document.addEventListener("DOMContentLoaded", () => {
  const sources = [...document.querySelectorAll("picture > source[media*='prefers-color-scheme: dark']")];
  const original = sources.map((source) => source.media);
  const follow = () => {
    const theme = document.body.dataset.theme;
    sources.forEach((source, index) => {
      source.media = theme === "dark" ? "all" : theme === "light" ? "not all" : original[index];
    });
  };
  new MutationObserver(follow).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
  follow();
});
