/**
 * Reads all messages and waits for `pause()` after each.
 *
 * @param {AsyncIterable<unknown>} messages
 * @param {() => Promise<void>} pause
 */
export async function readAtPace(messages, pause) {
  const iterator = messages[Symbol.asyncIterator]();
  while ((await iterator.next()).done !== true) await pause();
}
