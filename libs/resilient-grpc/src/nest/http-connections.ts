import type { HttpAdapterHost } from '@nestjs/core';

/** Number of open connections to the application's HTTP server; `undefined` if it has none. */
export async function httpConnections(host: HttpAdapterHost | undefined): Promise<number | undefined> {
  // An HTTP application has an adapter and a server after its start, with any adapter; a standalone application has neither.
  const server = (host as Partial<HttpAdapterHost> | undefined)?.httpAdapter?.getHttpServer() as
    { getConnections?: (callback: (error: Error | null, count: number) => void) => void } | undefined;
  if (typeof server?.getConnections !== 'function') return undefined;
  return new Promise((resolve) => {
    server.getConnections?.((error, count) => {
      resolve(error === null ? count : undefined);
    });
  });
}
