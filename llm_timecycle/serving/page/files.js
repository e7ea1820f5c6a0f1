// Text files: opened from the disk of whoever writes, and saved to it.

/** The text of a file with line breaks as `\n`; throws where it is not UTF-8. */
export async function readTextFile(file) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  return text.replace(/\r\n?/g, "\n");
}

/** A file name made from the first words of a text. */
export function nameFile(text, untitled) {
  const words = text.trim().split("\n")[0].replace(/[^\p{L}\p{N} _-]/gu, "").trim();
  return `${[...words].slice(0, 40).join("").trim() || untitled}.txt`;
}

export function downloadText(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
