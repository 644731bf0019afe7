import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { closest } from '../../errors/closest.js';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import type { WireCall } from '../calls/wire-call.js';
import { StandingStreams, addStandardService, type ServiceTaker } from '../standing-streams.js';
import { WatchStream } from './watch-stream.js';

/** The name of the server as a whole. */
const WHOLE = '';

/**
 * What `grpc.health.v1.Health` says of a server: NOT_SERVING until the application has started and its port is open, SERVING then, and
 * NOT_SERVING as soon as it shuts down. The server as a whole ('') and each service of the contract have a status of their own.
 */
export class GrpcServerHealth {
  private readonly implementation = new HealthImplementation();
  private readonly byHand = new Map<string, 'SERVING' | 'NOT_SERVING'>();
  private readonly names = new Set([WHOLE]);
  private contract: readonly string[] | undefined;
  private isListening = false;
  private isBootstrapped = false;
  private isDraining = false;

  /** @internal Made by a server. */
  constructor(
    private readonly standing = new StandingStreams(),
    private readonly logger: Pick<LibraryLogger, 'debug' | 'warn'> = new LibraryLogger('ResilientGrpcServer'),
  ) {
    this.tell();
  }

  /**
   * A service takes calls again. Before the application has started, and when it shuts down, it is NOT_SERVING all the same.
   *
   * @param service its full name, 'orders.v1.Orders', of the contract or one of your own; without one the server as a whole, which is
   * what probes ask for
   */
  setServing(service: string = WHOLE): void {
    this.set(service, 'SERVING');
  }

  /**
   * A service takes no calls for now, as its database is away; nothing is refused. It stays so until `setServing`.
   *
   * @param service its full name, 'orders.v1.Orders', of the contract or one of your own; without one the server as a whole, which is
   * what probes ask for
   */
  setNotServing(service: string = WHOLE): void {
    this.set(service, 'NOT_SERVING');
  }

  /** The port is open. @internal */
  listening(): void {
    this.isListening = true;
    this.tell();
  }

  /** The application has started. @internal */
  bootstrapped(): void {
    this.isBootstrapped = true;
    this.tell();
  }

  /** The server shuts down: nothing is SERVING any more, whatever is set. @internal */
  turnNotServing(): void {
    this.isDraining = true;
    this.tell();
  }

  /** Ends every Watch, and refuses those that come; `Check` goes on. To come with GOAWAY, or they would be begun again. @internal */
  endWatches(): void {
    this.standing.end();
  }

  /**
   * Adds the service, after those of the application: where that serves `grpc.health.v1.Health` by itself, ours stands back.
   *
   * @param services full names of the contract's
   * @internal
   */
  addTo(server: ServiceTaker, services: readonly string[]): void {
    this.contract = services;
    for (const name of services) this.names.add(name);
    this.tell();
    const added = addStandardService(
      server,
      (taker) => {
        this.implementation.addToServer(taker);
      },
      (implementation) => this.withStandingWatch(implementation),
    );
    if (!added) {
      this.logger.warn(
        'grpc.health.v1.Health is served by the application itself, which has to turn it NOT_SERVING at shutdown: ' +
          'leave it out there, or set health: false',
      );
    }
  }

  private withStandingWatch(implementation: UntypedServiceImplementation): UntypedServiceImplementation {
    // True: the package serves Watch, which streams its answers.
    const watch = implementation['watch'] as unknown as (call: WatchStream) => void;
    return {
      ...implementation,
      watch: (call: WireCall) => {
        if (this.standing.begin(call)) watch(new WatchStream(call));
      },
    };
  }

  private set(service: string, status: 'SERVING' | 'NOT_SERVING'): void {
    if (!this.names.has(service) && this.contract !== undefined) this.noteOwnName(service, this.contract);
    this.names.add(service);
    this.byHand.set(service, status);
    this.tell();
  }

  private noteOwnName(service: string, contract: readonly string[]): void {
    const meant = closest(service, contract);
    const guess = meant === undefined ? '' : `; did you mean '${meant}'?`;
    this.logger.debug(`health was set of '${oneLine(service)}', which is no service of the contract${guess}`);
  }

  private tell(): void {
    const isUp = this.isListening && this.isBootstrapped && !this.isDraining;
    for (const name of this.names) {
      this.implementation.setStatus(name, isUp ? (this.byHand.get(name) ?? 'SERVING') : 'NOT_SERVING');
    }
  }
}
