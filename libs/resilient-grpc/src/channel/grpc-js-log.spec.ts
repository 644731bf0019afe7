import { experimental, logVerbosity } from '@grpc/grpc-js';
import { expect, it, vi } from 'vitest';
import { redirectGrpcJsLog } from './grpc-js-log.js';

it('keeps redirecting the grpc-js log after another copy of the library ends its redirection', async () => {
  const lines: string[] = [];
  const end = redirectGrpcJsLog('error', (_level, text) => lines.push(text));
  try {
    vi.resetModules();
    const copy = await import('./grpc-js-log.js');
    expect(copy.redirectGrpcJsLog).not.toBe(redirectGrpcJsLog);
    const endOther = copy.redirectGrpcJsLog('error', () => undefined);
    endOther();
    experimental.log(logVerbosity.ERROR, 'refused');
    expect(lines).toEqual(['refused']);
  } finally {
    end();
  }
});
