import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { HEALTH_SERVICE, healthContract } from '../../client/health-contract.js';
import { problemMessage } from '../../policy/options/describe-value.js';
import { StatusCode } from '../../status/status-code.js';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { endStream, type AnswerCallback, type WireCall } from '../calls/wire-call.js';
import { ServiceStreams, addStandardService, type ServiceHost } from './service-streams.js';

/** Service name of the server as a whole. */
const OVERALL_SERVICE = '';
const SERVICE_NAME = "a full service name such as 'orders.v1.Orders', or '' for the whole server";

/** Maximum length of a watched service name in characters. It is limited because each watcher keeps its name in memory. */
const MAX_NAME_LENGTH = 1_000;
const NAME_TOO_LONG = `A service name can have at most ${String(MAX_NAME_LENGTH)} characters`;
/** Maximum number of names in a List response, as recommended by the protocol. */
const MAX_LISTED_NAMES = 100;

type Status = 'SERVING' | 'NOT_SERVING';

interface HealthRequest {
  readonly service: string;
}

/** One Watch call. A repeated status is sent once. There may be thousands of watchers, so each has only three fields. */
export class WatchStream {
  private sent: string | undefined;
  /** Latest status while the client is not reading; otherwise `undefined`. */
  private waiting: string | undefined;

  constructor(private readonly call: WireCall) {}

  write(status: string): void {
    if (this.call.writableEnded) return;
    if (this.waiting !== undefined) {
      this.waiting = status;
      return;
    }
    if (status === this.sent) return;
    this.sent = status;
    if (this.call.write({ status })) return;
    this.waiting = status;
    this.call.once('drain', () => {
      const { waiting = status } = this;
      this.waiting = undefined;
      this.write(waiting);
    });
  }
}

/**
 * Health status of a server for `grpc.health.v1.Health`. The status is NOT_SERVING until the application has started and the server's port
 * is open, then SERVING by default, and NOT_SERVING again from the start of the shutdown. The server as a whole ('') and each service of
 * the contract have separate statuses.
 */
export class GrpcServerHealth {
  private readonly statuses = new Map<string, Status>([[OVERALL_SERVICE, 'NOT_SERVING']]);
  private readonly watchers = new Map<string, Set<WatchStream>>();
  private readonly manualStatuses = new Map<string, Status>();
  private contract: readonly string[] | undefined;
  private isListening = false;
  private isBootstrapped = false;
  private isDraining = false;

  /** @internal Created by a server. */
  constructor(
    private readonly serviceStreams = new ServiceStreams(),
    private readonly logger: Pick<LibraryLogger, 'write'> = new LibraryLogger('ResilientGrpcServer'),
  ) {}

  /**
   * Sets a service to SERVING. The service is still reported as NOT_SERVING before the application has started and during
   * shutdown.
   *
   * @param service full name of a service in the contract, such as 'orders.v1.Orders', or a custom name; '' is the server as a whole, which
   * health probes check by default
   * @throws TypeError if `service` is not a string
   */
  setServing(service: string): void {
    assertServiceName('setServing', service);
    this.set(service, 'SERVING');
  }

  /**
   * Sets a service to NOT_SERVING until `setServing` is called, for example while its database is unreachable. Calls are not rejected.
   *
   * @param service full name of a service in the contract, such as 'orders.v1.Orders', or a custom name; '' is the server as a whole, which
   * health probes check by default
   * @throws TypeError if `service` is not a string
   */
  setNotServing(service: string): void {
    assertServiceName('setNotServing', service);
    this.set(service, 'NOT_SERVING');
  }

  /** Records that the port is open. @internal */
  markListening(): void {
    this.isListening = true;
    this.notify();
  }

  /** Records that the application has started. @internal */
  markBootstrapped(): void {
    this.isBootstrapped = true;
    this.notify();
  }

  /** Sets all services to NOT_SERVING for the shutdown; overrides `setServing`. @internal */
  turnNotServing(): void {
    this.isDraining = true;
    this.notify();
  }

  /**
   * Ends all streams of Watch and reflection, and rejects new ones; Check still works. Call it after GOAWAY is sent; otherwise, clients
   * restart the streams on this server.
   * @internal
   */
  endWatches(): void {
    this.serviceStreams.end();
  }

  /**
   * Adds the health service. Call it after the application's services have been added, so that the application's own implementation, if
   * any, is kept.
   *
   * @param services full names of the services in the contract
   * @internal
   */
  addTo(server: ServiceHost, services: readonly string[]): void {
    this.contract = services;
    for (const name of services) this.statuses.set(name, 'NOT_SERVING');
    this.notify();
    const added = addStandardService(server, healthContract()[HEALTH_SERVICE] as ServiceDefinition, this.handlers());
    if (!added) {
      const text =
        'the application serves grpc.health.v1.Health itself and must report NOT_SERVING at shutdown; ' +
        'remove that service, or write health: false';
      this.logger.write('warn', text, { event: 'configuration' });
    }
  }

  private handlers(): UntypedServiceImplementation {
    const check = (call: { readonly request: HealthRequest }, answer: AnswerCallback) => {
      const status = this.statuses.get(call.request.service);
      if (status !== undefined) answer(null, { status });
      else
        answer({
          code: StatusCode.NOT_FOUND,
          details: `Health status unknown for service ${call.request.service.slice(0, MAX_NAME_LENGTH)}`,
        });
    };
    const list = (_call: unknown, answer: AnswerCallback) => {
      if (this.statuses.size > MAX_LISTED_NAMES) {
        answer({
          code: StatusCode.RESOURCE_EXHAUSTED,
          details: 'Too many services to list; call Check with a service name',
        });
        return;
      }
      answer(null, { statuses: Object.fromEntries([...this.statuses].map(([name, status]) => [name, { status }])) });
    };
    const watch = (call: WireCall & { readonly request: HealthRequest }) => {
      const { service } = call.request;
      if (service.length > MAX_NAME_LENGTH)
        endStream(call, { code: StatusCode.INVALID_ARGUMENT, details: NAME_TOO_LONG });
      else this.watch(service, call);
    };
    // The cast is safe: each handler has the signature that grpc-js uses.
    return { check, list, watch } as unknown as UntypedServiceImplementation;
  }

  private watch(service: string, call: WireCall): void {
    const stream = new WatchStream(call);
    const onEnd = () => {
      const streams = this.watchers.get(service);
      streams?.delete(stream);
      if (streams?.size === 0) this.watchers.delete(service);
    };
    if (!this.serviceStreams.begin(call, onEnd)) return;
    const streams = this.watchers.get(service);
    if (streams === undefined) this.watchers.set(service, new Set([stream]));
    else streams.add(stream);
    stream.write(this.statuses.get(service) ?? 'SERVICE_UNKNOWN');
  }

  private set(service: string, status: Status): void {
    if (!this.statuses.has(service) && this.contract !== undefined) this.logCustomName(service, this.contract);
    this.statuses.set(service, 'NOT_SERVING');
    this.manualStatuses.set(service, status);
    this.notify();
  }

  private logCustomName(service: string, contract: readonly string[]): void {
    const text = `health status set for '${oneLine(service)}', which is not a service of the contract (${contract.join(', ')})`;
    this.logger.write('debug', text, { event: 'health-unmatched', service: oneLine(service) });
  }

  private notify(): void {
    const isUp = this.isListening && this.isBootstrapped && !this.isDraining;
    for (const name of this.statuses.keys()) {
      const status = isUp ? (this.manualStatuses.get(name) ?? 'SERVING') : 'NOT_SERVING';
      this.statuses.set(name, status);
      for (const stream of this.watchers.get(name) ?? []) stream.write(status);
    }
  }
}

// Rejects `undefined`, for example from a missing setting, because it would be stored as a service that no client checks.
function assertServiceName(method: string, service: unknown): void {
  if (typeof service === 'string') return;
  throw new TypeError(`GrpcServerHealth.${method}.service: ${problemMessage(SERVICE_NAME, service)}`);
}
