import { readFileSync } from 'node:fs';
import { Http2FaultProxy } from 'nestjs-resilient-grpc/testing';
import { certificate } from '../../support/orders-app.js';
import type { Run } from './scenario.js';
import type { Upstream } from './upstream.js';

/** Starts an HTTP/2 proxy in front of `upstream`, with TLS if the upstream uses it. Closes the proxy at the end of the run. */
export async function startHttp2Proxy(run: Run, upstream: Upstream): Promise<Http2FaultProxy> {
  const [ca, cert, key] = ['ca', 'server', 'server-key'].map((name) => readFileSync(certificate(name)));
  const overTls = { tls: { cert: cert!, key: key! }, upstreamTls: { ca, serverName: 'localhost' } };
  const proxy = await Http2FaultProxy.start(upstream.url, upstream.kind.security === 'TLS' ? overTls : {});
  run.onEnd(() => proxy.close());
  return proxy;
}
