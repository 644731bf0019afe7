import { connect } from 'node:tls';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../time/clock.js';

/** Timeout of the TCP connect and the TLS handshake together, in milliseconds. */
const TIMEOUT_MS = 5_000;

// A TLS alert. Other OpenSSL errors mean that the peer sent data that is not TLS.
const ALERT = /^ERR_SSL_.*(?:ALERT|UNRECOGNIZED_NAME)/;

/**
 * Detects that a server uses TLS although its client does not. The server then closes each connection without a response. A proxy without
 * a reachable server does the same, so only a TLS handshake distinguishes them. Each client opens at most one connection for the detection,
 * and only if the client has never been connected. An outage after the first connection therefore causes no additional connections.
 */
export class TlsDetection {
  private hasBegun = false;
  private socket: Socket | undefined;
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  /** Calls `found` if the server at `address` ('10.0.0.7:50051', or the path of a Unix socket) uses TLS. Runs at most once. */
  begin(address: string, found: () => void): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    const [, host, port] = /^\[?([^/]*?)\]?:(\d+)$/.exec(address) ?? [];
    const place = host === undefined ? { path: address } : { host, port: Number(port) };
    // The server's certificate is not verified, because no request is sent.
    const socket = connect({ ...place, ALPNProtocols: ['h2'], rejectUnauthorized: false });
    this.socket = socket;
    socket.unref();
    this.timer = this.clock.setTimer(() => {
      this.close();
    }, TIMEOUT_MS);
    const ended = (usesTls: boolean): void => {
      if (this.socket !== undefined && usesTls) found();
      this.close();
    };
    socket.on('secureConnect', () => {
      ended(true);
    });
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => {
      ended(ALERT.test(code));
    });
    socket.on('close', () => {
      ended(false);
    });
  }

  /** Ends a running detection, and prevents a later one. */
  close(): void {
    this.hasBegun = true;
    this.timer?.clear();
    this.timer = undefined;
    this.socket?.destroy();
    this.socket = undefined;
  }
}
