/* Names and keys that the theme leaves out, for those who hear the pages or use no pointer. */
addEventListener("DOMContentLoaded", () => {
  // The name of what is pressed is what is written on it.
  for (const summary of document.querySelectorAll("summary"))
    if (summary.textContent.trim()) summary.removeAttribute("aria-label");
    else summary.setAttribute("aria-label", "Show the pages below this one");
  for (const button of document.querySelectorAll("button.search-button-field")) button.removeAttribute("aria-label");
  const reachable = () => {
    for (const box of document.querySelectorAll("mjx-container, div.highlight pre, .pst-scrollable-table-container"))
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  };
  reachable();
  window.MathJax?.startup?.promise?.then(reachable);
  addEventListener("resize", reachable);
});
