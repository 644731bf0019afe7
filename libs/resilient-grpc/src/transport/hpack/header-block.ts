import { IGNORED, type Field } from './static-table.js';

/** Pseudo-header fields of requests and responses (RFC 9113, sections 8.3.1 and 8.3.2). */
const PSEUDO_FIELDS = {
  ':status': 'status',
  ':method': 'method',
  ':scheme': 'scheme',
  ':path': 'path',
  ':authority': 'authority',
} as const;

/**
 * Maximum number of fields of a header block: twice that of `node:http2`. Metadata of many small fields cost far more than their size.
 */
const MAX_FIELDS = 256;
/** Cost of a further value in a binary field, in fields: clients may send hundreds, and a value that the table repeats costs a byte. */
const COST_OF_VALUE = 1 / 16;
/** Memory in V8's heap of a field, apart from its characters, and of a further value in a binary field, which becomes a Buffer. */
const FIELD_BYTES = 96;
const VALUE_BYTES = 200;

/** A decoded header block. Fields that gRPC reads in every block have properties of their own. */
export class HeaderBlock {
  status: string | undefined = undefined;
  method: string | undefined = undefined;
  scheme: string | undefined = undefined;
  path: string | undefined = undefined;
  authority: string | undefined = undefined;
  grpcStatus: string | undefined = undefined;
  /** Still percent-encoded. */
  grpcMessage: string | undefined = undefined;
  contentType: string | undefined = undefined;
  grpcEncoding: string | undefined = undefined;
  grpcTimeout: string | undefined = undefined;
  te: string | undefined = undefined;
  contentLength: string | undefined = undefined;
  /** Names and values of all fields except pseudo-header fields, in turn and in their order. */
  readonly fields: string[] = [];
  /** Size of the list (RFC 9113, section 6.5.2), number of its fields, and number of further values in its binary fields. */
  size = 0;
  count = 0;
  values = 0;
  /** Reason why the block is malformed (RFC 9113, section 8.2 and 8.3); `undefined` if it is not. */
  malformed: string | undefined = undefined;
  /** True if a field `isUnusual`. */
  hasUnusual = false;

  /** @param maxSize limit of the size */
  constructor(readonly maxSize: number) {}

  /** True if the size or the number of fields exceeds its limit; then the fields beyond the limit are missing. */
  get isTooLarge(): boolean {
    return this.size > this.maxSize || this.cost > MAX_FIELDS;
  }

  /** Memory in V8's heap that the block and its metadata take, in bytes. */
  get heapBytes(): number {
    return this.size + (FIELD_BYTES * this.fields.length) / 2 + VALUE_BYTES * this.values;
  }

  private get cost(): number {
    return this.count + COST_OF_VALUE * this.values;
  }

  /** What exceeds which limit, if `isTooLarge`. */
  get excess(): string {
    const { size, maxSize, cost } = this;
    return size > maxSize
      ? `${String(size)} vs ${String(maxSize)}`
      : `${String(Math.ceil(cost))} vs ${String(MAX_FIELDS)} fields`;
  }

  add(field: Field): void {
    const { name, value } = field;
    if (field.problem === IGNORED) return;
    if (name.endsWith('-bin')) this.countParts(value);
    if (field.problem !== undefined) this.malformed = field.problem;
    if (field.isUnusual === true) this.hasUnusual = true;
    if (name.charCodeAt(0) === 0x3a) {
      this.addPseudo(name, value);
      return;
    }
    switch (name) {
      case 'grpc-status':
        // Two different ones are none.
        if (this.grpcStatus === undefined || this.grpcStatus === value) this.grpcStatus = value;
        else this.grpcStatus += `, ${value}`;
        break;
      case 'grpc-message':
        this.grpcMessage = value;
        break;
      case 'content-type':
        // HTTP allows one, so the first one counts.
        this.contentType ??= value;
        break;
      case 'grpc-encoding':
        this.grpcEncoding = value;
        break;
      case 'grpc-timeout':
        this.grpcTimeout = value;
        break;
      // Two different ones are malformed.
      case 'te':
        this.te = this.te === undefined || this.te === value ? value : `${this.te}, ${value}`;
        break;
      case 'content-length': {
        const { contentLength: earlier } = this;
        this.contentLength = earlier === undefined || earlier === value ? value : `${earlier}, ${value}`;
        break;
      }
    }
    this.fields.push(name, value);
  }

  /** Each part of a binary value is a value of its own. */
  private countParts(value: string): void {
    for (let at = value.indexOf(','); at >= 0 && !this.isTooLarge; at = value.indexOf(',', at + 1)) this.values += 1;
  }

  private addPseudo(name: string, value: string): void {
    // Safe: `hasOwn` has found the name.
    const key = Object.hasOwn(PSEUDO_FIELDS, name) ? PSEUDO_FIELDS[name as keyof typeof PSEUDO_FIELDS] : undefined;
    if (key === undefined) this.malformed = `pseudo-header field ${name.slice(0, 40)}`;
    else if (this[key] !== undefined || this.fields.length > 0) this.malformed = `repeated or misplaced ${name}`;
    else this[key] = value;
  }
}
