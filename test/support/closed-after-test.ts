import { onTestFinished as afterCurrentTest } from 'vitest';

/** Resolves to what a test starts, which is closed at the end of the test. Concurrent tests pass the `onTestFinished` of their context. */
export async function closedAfterTest<T extends { close(): unknown }>(
  starting: Promise<T>,
  onTestFinished: (close: () => Promise<void>) => void = afterCurrentTest,
): Promise<T> {
  const started = await starting;
  onTestFinished(async () => {
    await started.close();
  });
  return started;
}
