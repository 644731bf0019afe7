import type { HttpAdapterHost } from '@nestjs/core';

/** Connections to the application's HTTP server that are open; undefined where it has none. */
export async function httpConnections(host: HttpAdapterHost | undefined): Promise<number | undefined> {
  // Both are there after the start of an HTTP application, whatever its adapter; a standalone application has neither.
  const server = (host as Partial<HttpAdapterHost> | undefined)?.httpAdapter?.getHttpServer() as
    { getConnections?: (tell: (error: Error | null, count: number) => void) => void } | undefined;
  if (typeof server?.getConnections !== 'function') return undefined;
  return new Promise((resolve) => {
    server.getConnections?.((error, count) => {
      resolve(error === null ? count : undefined);
    });
  });
}
