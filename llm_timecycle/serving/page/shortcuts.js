// Which keys do what.

/** The action that a key in the sheet asks for; null for none. */
export function findShortcut(event) {
  const isCommand = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (isCommand && key === "z") return event.shiftKey ? "redo" : "undo";
  if (isCommand && key === "y") return "redo";
  if (isCommand && key === "Enter") return event.shiftKey ? "retry" : "continue";
  if (event.altKey && key === "ArrowUp") return "previous";
  if (event.altKey && key === "ArrowDown") return "next";
  if (key === "Tab" && !event.shiftKey && !isCommand && !event.altKey) return "continue";
  return null;
}
