import { Metadata, type StatusObject, type experimental } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import { failureByText } from '../../policy/evidence/local-failure.js';
import { StatusCode } from '../../status/status-code.js';
import { contentTypeOf, EXPIRED, WireAttempt } from '../wire/wire-attempt.js';

const UNSUPPORTED_ENCODING =
  'Compression method not supported: the "grpc-encoding" of the response is neither gzip nor deflate';

/** An attempt on the transport of grpc-js. How far it got is unknown. */
export class GrpcJsAttempt extends WireAttempt {
  readonly connection = undefined;
  readonly obstacle = undefined;
  readonly wire = undefined;
  protected readonly waitsFor = undefined;
  private call!: experimental.CallStream;

  protected start(metadata: Metadata): void {
    const { clock } = this;
    const { method, deadline, options } = this.request;
    const { host, parent, propagate_flags: flags, credentials } = options ?? {};
    this.call = this.owner.channel.createCall(method.path, deadline, host, parent ?? null, flags);
    // `credentials` may be null, as in grpc-js.
    if (credentials) this.call.setCredentials(credentials);
    if (deadline <= clock.epoch()) {
      // grpc-js would send the call, and the server would run it. A call that was not started reports no status.
      const status = { code: StatusCode.DEADLINE_EXCEEDED, details: EXPIRED, metadata: new Metadata() };
      this.call.cancelWithStatus(status.code, status.details);
      clock.defer(() => this.receiveStatus(status));
      return;
    }
    // An object with own methods, because New Relic copies the listener of each call, and a copy lacks inherited methods.
    this.call.start(withFields(metadata, this.request.fields), {
      onReceiveMetadata: (headers) => this.receiveHeaders({ metadata: headers, contentType: contentTypeOf(headers) }),
      onReceiveMessage: (message: Buffer) => this.receiveMessage(message),
      onReceiveStatus: (status) => this.callEnded(status),
    });
  }

  protected sendBytes(message: Buffer, written: (() => void) | undefined, flags: number): void {
    this.call.sendMessageWithContext({ ...(written && { callback: written }), ...(flags && { flags }) }, message);
  }

  startRead(): void {
    this.call.startRead();
  }

  protected endRequests(): void {
    this.call.halfClose();
  }

  protected endHere(code: number, details: string): void {
    this.call.cancelWithStatus(code, details);
    // In the turn in which a call is created, grpc-js has no child call yet. It reports the cancellation, but then sends the RPC anyway
    // and never ends it. In the next turn, the child call exists, and a second cancellation reaches it.
    this.clock.defer(() => this.call.cancelWithStatus(code, details));
  }

  get picked(): boolean {
    return this.call.getPeer() !== this.owner.channel.getTarget();
  }

  get peer(): string | undefined {
    const peer = this.call.getPeer();
    return this.picked && peer !== 'unknown' ? peer : undefined;
  }

  get authContext(): Attempt['authContext'] {
    return this.call.getAuthContext();
  }

  private callEnded(status: StatusObject): void {
    const { code, details } = status;
    // grpc-js ends a call with neither code nor details if it receives a compressed message whose encoding is neither gzip nor deflate. The
    // encoding is unknown here, because grpc-js has removed its header.
    if ((code as number | undefined) === undefined) {
      this.cancel('protocol', StatusCode.INTERNAL, UNSUPPORTED_ENCODING);
      this.receiveStatus({ ...status, code: StatusCode.INTERNAL, details: UNSUPPORTED_ENCODING });
    } else this.receiveStatus({ ...status, failure: failureByText(code, details) });
  }
}

function withFields(metadata: Metadata, fields: readonly string[] | undefined): Metadata {
  if (fields === undefined) return metadata;
  const own = metadata.clone();
  for (let at = 0; at + 1 < fields.length; at += 2) own.set(fields[at] ?? '', fields[at + 1] ?? '');
  return own;
}
