import { Metadata } from '@grpc/grpc-js';
import type { AttemptRequest } from '../../libs/resilient-grpc/src/call/attempt.js';
import type { MethodDescriptor } from '../../libs/resilient-grpc/src/call/method.js';

/** A unary method whose messages are JSON. */
export const JSON_METHOD: MethodDescriptor = {
  path: '/testing.v1.Echo/Unary',
  service: 'testing.v1.Echo',
  method: 'Unary',
  kind: 'unary',
  requestStream: false,
  responseStream: false,
  declaredIdempotent: false,
  requestSerialize: (message) => Buffer.from(JSON.stringify(message)),
  responseDeserialize: (bytes) => JSON.parse(bytes.toString()) as unknown,
};

/** The first attempt of a call without a deadline, with these changes. */
export function attemptRequest(change: Partial<AttemptRequest> = {}): AttemptRequest {
  return {
    method: JSON_METHOD,
    deadline: Infinity,
    metadata: new Metadata(),
    options: undefined,
    interceptors: undefined,
    number: 1,
    mayRepeat: false,
    maxReceiveBytes: Infinity,
    ...change,
  };
}
