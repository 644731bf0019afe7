import { promisify } from 'node:util';
import { deflate, gzip } from 'node:zlib';

const ALGORITHMS = { deflate: promisify(deflate), gzip: promisify(gzip) };
/** Values of the channel option `grpc.default_compression_algorithm`. */
const ENCODINGS: Readonly<Record<number, keyof typeof ALGORITHMS>> = { 1: 'deflate', 2: 'gzip' };
/** Write flag of grpc-js for a message that is not compressed. */
const NO_COMPRESS = 2;

/** Compression of the requests of a channel. Like grpc-js, it ends if a server does not list the encoding in its response. */
export class RequestCompression {
  isAccepted = true;

  private constructor(readonly encoding: keyof typeof ALGORITHMS) {}

  static of(algorithm: number | undefined): RequestCompression | undefined {
    const encoding = ENCODINGS[algorithm ?? 0];
    return encoding && new RequestCompression(encoding);
  }

  /** @param accepted `grpc-accept-encoding` of a response */
  answered(accepted: unknown): void {
    if (typeof accepted === 'string') this.isAccepted = accepted.split(/\s*,\s*/).includes(this.encoding);
  }

  compress(message: Buffer): Promise<Buffer> {
    return ALGORITHMS[this.encoding](message);
  }
}

interface Request {
  readonly message: Buffer;
  readonly written: (() => void) | undefined;
  readonly flags: number;
}

/** Stream of the requests on a connection. */
export interface RequestWriter {
  /** @param compressed the compressed flag, 0 or 1. @param isOwn true if nobody changes the message afterward */
  write(message: Uint8Array, written: (() => void) | undefined, compressed: number, isOwn: boolean): void;
  writeEnd(): void;
}

/** Requests of a call that wait for its connection, or are compressed, in their order. */
export class OutgoingRequests {
  private readonly requests: Request[] = [];
  private call: RequestWriter | undefined;
  private isSending = false;
  private isEnded = false;

  /**
   * @param compression `undefined` if the headers of the call name no encoding
   * @param isOwn true if nobody changes the messages
   */
  constructor(
    private readonly compression: RequestCompression | undefined,
    private readonly isOwn: boolean,
  ) {}

  send(message: Buffer, written: (() => void) | undefined, flags: number): void {
    this.requests.push({ message, written, flags });
    void this.flush();
  }

  end(): void {
    this.isEnded = true;
    void this.flush();
  }

  open(call: RequestWriter): void {
    this.call = call;
    void this.flush();
  }

  private async flush(): Promise<void> {
    const { call, requests, compression } = this;
    if (call === undefined || this.isSending) return;
    this.isSending = true;
    for (let request = requests.shift(); request !== undefined; request = requests.shift()) {
      const { message, written, flags } = request;
      const compresses = compression?.isAccepted === true && (flags & NO_COMPRESS) === 0;
      if (compresses) call.write(await compression.compress(message), written, 1, true);
      else call.write(message, written, 0, this.isOwn);
    }
    this.isSending = false;
    if (this.isEnded) call.writeEnd();
  }
}
