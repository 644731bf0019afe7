import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const A = 1;
const TXT = 16;

/** A DNS server on loopback. If `hasRecords` is true, every name has the `addresses` and the TXT record `text`. */
export class NameServer {
  /** True if names exist; otherwise the server responds with NXDOMAIN. */
  hasRecords = false;
  /** IPv4 addresses of each name. */
  addresses: readonly string[] = ['127.0.0.1'];
  /** The TXT record of each name; `undefined` if absent. */
  text: string | undefined;
  queries = 0;

  private constructor(private readonly socket = createSocket('udp4')) {
    socket.on('message', (query, { port, address }) => {
      this.queries += 1;
      socket.send(this.answer(query), port, address);
    });
  }

  static async start(): Promise<NameServer> {
    const server = new NameServer();
    server.socket.bind(0, '127.0.0.1');
    await once(server.socket, 'listening');
    return server;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }

  close(): void {
    this.socket.close();
  }

  /** The response to `query` (RFC 1035, 4.1): NXDOMAIN, or the records of the requested type, if any. */
  private answer(query: Buffer): Buffer {
    const end = query.indexOf(0, 12) + 5;
    const question = query.subarray(12, end);
    const records = this.hasRecords ? this.records(query.readUInt16BE(end - 4)) : [];
    const flags = Buffer.from([0x81, this.hasRecords ? 0x80 : 0x83]);
    const counts = Buffer.from([0, 1, 0, records.length, 0, 0, 0, 0]);
    const type = query.subarray(end - 4, end - 2);
    const resources = records.flatMap((data) => [
      Buffer.from([0xc0, 12]),
      type,
      Buffer.from([0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 0xff]),
      data,
    ]);
    return Buffer.concat([query.subarray(0, 2), flags, counts, question, ...resources]);
  }

  private records(type: number): readonly Buffer[] {
    if (type === A) return this.addresses.map((address) => Buffer.from(address.split('.').map(Number)));
    if (type !== TXT || this.text === undefined) return [];
    // A TXT record consists of strings of at most 255 bytes.
    const strings = this.text.match(/.{1,255}/gs) ?? [];
    return [Buffer.concat(strings.flatMap((text) => [Buffer.from([text.length]), Buffer.from(text)]))];
  }
}
