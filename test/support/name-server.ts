import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const A = 1;

/** A name server on loopback. Whatever it is asked for has the address 127.0.0.1, from the moment on that it is told so. */
export class NameServer {
  /** Whether names have an address; else there are no such names. */
  knows = false;
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

  /** The query with its own question (RFC 1035, 4.1): no such name, or one A record; no record of another type. */
  private answer(query: Buffer): Buffer {
    const end = query.indexOf(0, 12) + 5;
    const question = query.subarray(12, end);
    const hasAddress = this.knows && query.readUInt16BE(end - 4) === A;
    const flags = Buffer.from([0x81, this.knows ? 0x80 : 0x83]);
    const counts = Buffer.from([0, 1, 0, hasAddress ? 1 : 0, 0, 0, 0, 0]);
    const record = Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    return Buffer.concat([query.subarray(0, 2), flags, counts, question, ...(hasAddress ? [record] : [])]);
  }
}
