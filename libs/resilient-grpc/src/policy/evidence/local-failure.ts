import { StatusCode } from '../../status/status-code.js';
import * as text from './grpc-js-texts.js';

/**
 * What the client itself observed when an attempt failed, apart from the HTTP/2 evidence. 'not-placed': no connection was available, or the
 * channel was closed. 'not-started': the picked connection took no more streams. 'credentials': the call credentials failed. 'deadline': the
 * client's own deadline passed. 'dropped': the connection was lost. 'http': the response has no gRPC status, and the code was derived from
 * its HTTP status. The others: a message was above a limit of the client, or could not be serialized below the interceptors.
 */
export type LocalFailure =
  | 'not-placed'
  | 'not-started'
  | 'credentials'
  | 'deadline'
  | 'dropped'
  | 'http'
  | 'response-too-large'
  | 'request-too-large'
  | 'request-not-serializable';

/**
 * Returns what the status message of a call on grpc-js's transport, or of a plain grpc-js client, shows. There is no other evidence. A server
 * can send any of these messages, so the result counts only if no response arrived.
 */
export function failureByText(code: number, details: string): LocalFailure | undefined {
  if (text.CREDENTIALS_FAILED.test(details)) return 'credentials';
  // Safe: an unknown code has no case.
  switch (code as StatusCode) {
    case StatusCode.UNAVAILABLE:
      if (text.NOT_PICKED.test(details)) return 'not-placed';
      return text.DROPPED.test(details) ? 'dropped' : undefined;
    case StatusCode.INTERNAL:
      return text.NOT_STARTED.test(details) ? 'not-started' : undefined;
    case StatusCode.DEADLINE_EXCEEDED:
      return text.DEADLINE.test(details) ? 'deadline' : undefined;
    default:
      return undefined;
  }
}
