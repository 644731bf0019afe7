import { el, setText } from './parts.js';

/** Time for which the status shows a result, in milliseconds. */
const REPORTED_MS = 3_000;

/** Creates a button and a status. The button copies the text that `textOf()` returns or resolves to; the status reports the result. */
export function copyButton(title, textOf) {
  const result = el('span', { class: 'dim', role: 'status' });
  let timer;
  const copy = async () => {
    let text;
    try {
      text = await textOf();
    } catch (error) {
      text = undefined;
      setText(result, `Not copied: ${error.message}`);
    }
    if (text !== undefined) setText(result, (await copyText(text)) ? 'Copied.' : '');
    clearTimeout(timer);
    timer = setTimeout(() => setText(result, ''), REPORTED_MS);
  };
  return el(
    'span',
    { class: 'copy' },
    el('button', { type: 'button', text: title, onclick: () => void copy() }),
    result,
  );
}

/** Copies `text`. Resolves to false, and shows `text` in a dialog, if the browser does not permit copying. */
async function copyText(text) {
  try {
    // `navigator.clipboard` is missing on a page without TLS, except on localhost.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyWithoutApi(text);
  }
}

function copyWithoutApi(text) {
  const area = el('textarea', { readonly: true, rows: '12', 'aria-label': 'Text to copy', text });
  const close = el('button', { type: 'button', text: 'Close', onclick: () => dialog.close() });
  const dialog = el(
    'dialog',
    { class: 'copy-dialog', onclose: () => dialog.remove() },
    el('p', { text: 'The browser did not permit copying. Press Ctrl+C, or ⌘C.' }),
    area,
    close,
  );
  document.querySelector('.dashboard').append(dialog);
  // A modal dialog receives the focus, and restores the previous focus when it closes.
  dialog.showModal();
  area.select();
  const copied = document.execCommand('copy');
  if (copied) dialog.close();
  return copied;
}
