import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as text from './grpc-js-texts.js';

const folder = dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js'));
const source = readdirSync(folder)
  .filter((file) => file.endsWith('.js'))
  .map((file) => readFileSync(join(folder, file), 'utf8'))
  .join('\n');

// Status messages in the source of grpc-js, with its placeholders. If a version of grpc-js changes a message, this test fails before
// production does.
describe('installed grpc-js', () => {
  it.each<[literal: string, known: string | RegExp, sample?: string]>([
    ['Stream refused by server', text.STREAM_REFUSED],
    ['Call cancelled', text.RESET_BY_CANCEL],
    ['Bandwidth exhausted or memory limit exceeded', text.RESET_BY_CALM],
    ['Connection dropped', text.DROPPED],
    ['Write error: ${error.message}', text.DROPPED],
    ['Write failed with error ${error.message}', text.DROPPED],
    [
      'Received RST_STREAM with code ${http2Stream.rstCode} (Call ended without gRPC status)',
      text.RESET_BY_PEER,
      'Received RST_STREAM with code 0 (Call ended without gRPC status)',
    ],
    [
      'Received RST_STREAM with code ${http2Stream.rstCode} (Internal server error)',
      text.RESET_BY_PEER,
      'Received RST_STREAM with code 2 (Internal server error)',
    ],
    [
      'Received RST_STREAM with code ${http2Stream.rstCode} triggered by internal client error: ',
      text.RESET_BY_PEER,
      'Received RST_STREAM with code 2 triggered by internal client error: Session closed with error code 2',
    ],
    ['Deadline exceeded', text.DEADLINE],
    ['No connection established', text.NOT_PICKED],
    ['round_robin: No connection established. Last error: ', text.NOT_PICKED],
    ['Name resolution failed for target ', text.NOT_PICKED],
    ['Channel closed before call started', text.NOT_PICKED],
    ['Parsing service config failed', text.NOT_PICKED],
    ['Failed to start HTTP/2 stream with error ', text.NOT_STARTED],
    ['Getting metadata from plugin failed with error: ', text.CREDENTIALS_FAILED],
    [
      'Invalid status from control plane: ${code} ${constants_1.Status[code]} ${details}',
      text.CREDENTIALS_FAILED,
      'Invalid status from control plane: 5 NOT_FOUND Getting metadata from plugin failed with error: no token',
    ],
    ['Attempted to send message with a size larger than ${', text.REQUEST_TOO_LARGE],
  ])('matches the status message %j, which the installed grpc-js contains', (literal, known, sample = literal) => {
    expect(source).toContain(literal);
    expect(typeof known === 'string' ? known === sample : known.test(sample)).toBe(true);
  });
});

// The status message of a server may contain a message of grpc-js. Each pattern therefore matches only from the start of a message; some
// match only a whole message.
describe('text pattern', () => {
  it.each<[other: string, known: RegExp]>([
    ['Order 7: Connection dropped', text.DROPPED],
    ['Connection dropped by the bank', text.DROPPED],
    ['cannot read ECONNRESET', text.DROPPED],
    ['read econnreset', text.DROPPED],
    ['the socket hang up', text.DROPPED],
    ['socket hang up again', text.DROPPED],
    ['A Client network socket disconnected', text.DROPPED],
    ['Some Write error: x', text.DROPPED],
    ['Upstream: Received RST_STREAM with code 2', text.RESET_BY_PEER],
    ['Received RST_STREAM with code 23', text.RESET_BY_PEER],
    ['Received RST_STREAM with code 1', text.RESET_BY_PEER],
    ['Upstream: Deadline exceeded', text.DEADLINE],
    ['Deadline exceededly', text.DEADLINE],
    ['the upstream says: No connection established', text.NOT_PICKED],
    ['two words: No connection established', text.NOT_PICKED],
    ['Upstream: Channel closed before call started', text.NOT_PICKED],
    ['Channel closed before call started.', text.NOT_PICKED],
    ['Upstream: Failed to start HTTP/2 stream with error', text.NOT_STARTED],
    ['Upstream: Getting metadata from plugin failed', text.CREDENTIALS_FAILED],
    ['Upstream: Attempted to send message with a size larger than 1', text.REQUEST_TOO_LARGE],
  ])('does not match the status message of a server: %s', (other, known) => {
    expect(known.test(other)).toBe(false);
  });

  it.each([
    'read ECONNRESET',
    'write EPIPE',
    'connect ETIMEDOUT 10.0.0.1:443',
    'socket hang up',
    'Client network socket disconnected before secure TLS connection was established',
  ])('matches the status message of a dropped connection: %s', (own) => {
    expect(text.DROPPED.test(own)).toBe(true);
  });
});
