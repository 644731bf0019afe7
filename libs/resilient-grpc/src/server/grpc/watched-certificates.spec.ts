import { readFileSync } from 'node:fs';
import { ServerCredentials } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { watchCertificates } from './watched-certificates.js';

const DAY_MS = 86_400_000;
const pem = (name: string) => readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));

it('reports a certificate once a day from two weeks before its end, and then that it has expired', () => {
  // 15 days before the end of the certificate.
  const clock = new VirtualClock(Date.UTC(2126, 9, 12, 8, 25, 22));
  const events = new EventHub<GrpcServerEvent>({}, () => 0);
  const reported: boolean[] = [];
  events.listen((event) => {
    if (event.type === 'certificate-expiry') reported.push(event.isExpired);
  }, true);
  const pair = { cert_chain: pem('server'), private_key: pem('server-key') };
  const credentials = ServerCredentials.createSsl(null, [pair]);
  const stop = watchCertificates(credentials, [], events, clock, { cert: pair.cert_chain });
  expect(reported).toEqual([]);
  clock.advance(DAY_MS);
  expect(reported).toEqual([]);
  clock.advance(DAY_MS);
  expect(reported).toEqual([false]);
  clock.advance(14 * DAY_MS);
  expect(reported).toEqual([...Array.from({ length: 13 }, () => false), true, true]);
  stop();
  expect(clock.pending).toBe(0);
});
