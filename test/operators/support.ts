import type { GrpcObservable } from 'nestjs-resilient-grpc';
import { lastValueFrom, toArray } from 'rxjs';
import { toList } from '../calls/support.js';
import type { Echo } from '../testing/echo-client.js';

/** The two ways to read a stream. */
export const READERS: Readonly<Record<string, (stream: GrpcObservable<Echo>) => Promise<Echo[]>>> = {
  pushed: (stream) => lastValueFrom(stream.pipe(toArray())),
  pulled: (stream) => toList(stream),
};
