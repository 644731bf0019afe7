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

// As grpc-js writes them, with its placeholders; a version that writes otherwise fails here and not in production.
describe('the installed grpc-js', () => {
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
    ['Received HTTP status code ${code}', text.HTTP_STATUS, 'Received HTTP status code 503'],
    ['Deadline exceeded', text.DEADLINE],
    ['No connection established', text.NOT_PICKED],
    ['round_robin: No connection established. Last error: ', text.NOT_PICKED],
    ['Name resolution failed for target ', text.NOT_PICKED],
    ['Channel closed before call started', text.NOT_PICKED],
    ['Parsing service config failed', text.NOT_PICKED],
    ['Getting metadata from plugin failed with error: ', text.CREDENTIALS_FAILED],
    ['Attempted to send message with a size larger than ${', text.REQUEST_TOO_LARGE],
    ['Request message serialization failure: ', text.REQUEST_NOT_SERIALIZABLE],
  ])('still says %j', (literal, known, sample = literal) => {
    expect(source).toContain(literal);
    expect(typeof known === 'string' ? known === sample : known.test(sample)).toBe(true);
  });
});
