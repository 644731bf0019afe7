import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ServerGrpc, type GrpcMethodStreamingType } from '@nestjs/microservices';
import { Observable } from 'rxjs';
import { EventHub } from '../call/event-hub.js';
import { SeamReport } from '../channel/quirks/seam-report.js';
import { loadContract } from '../client/settings/contract.js';
import { patternProblems } from '../client/settings/method-patterns.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { GrpcTelemetry } from '../telemetry/grpc-telemetry.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { ServedHandler } from './calls/served-method.js';
import type { WireCall } from './calls/wire-call.js';
import { ServerCalls, type ActiveServerStream } from './calls/server-calls.js';
import { takeKeepalive } from './connections/keepalive.js';
import { ServerConnections } from './connections/server-connections.js';
import { GrpcServerHealth } from './health/serving-health.js';
import { isTracedByOthers, observedServer } from './observation/observed-server.js';
import { SERVER_SEAMS } from './quirks/server-seams.js';
import { addReflection } from './reflection.js';
import { grpcServerOptions } from './grpc-server-options.js';
import { implementationOf, servedMethod, type CallHook, type NativeMethod } from './served-methods.js';
import { servedServices } from './served-services.js';
import { ServerDrain } from './server-drain.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import { ServerLog } from './server-log.js';
import { debugIsRead } from '../telemetry/log/debug-level.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import type { ResolvedServerOptions } from './server-options.js';
import { StandingStreams } from './standing-streams.js';

/** What a server needs from outside. */
export interface ServerSeams {
  readonly clock: Clock;
  readonly random: Random;
  /** Whether outgoing calls may be bound to inbound ones; asked when the application has been made. */
  readonly captures: () => boolean;
  /** Where its module is imported. */
  readonly telemetry?: GrpcTelemetry | undefined;
}

const CLOSED =
  'This ResilientGrpcServer was closed, and does not listen again: close the application, and make it anew (NestFactory.create)';
const LISTENS_ALREADY =
  'This ResilientGrpcServer listens already: start its microservice once; a second address needs a module of its own';

/**
 * A strategy in place of `Transport.GRPC`, made by {@link ResilientGrpcServerModule}: it drains, tells, and does not leak.
 * `app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, { inheritAppConfig: true })`.
 */
export class ResilientGrpcServer extends ServerGrpc {
  /** What `grpc.health.v1.Health` says; turned by hand for a service of its own. */
  readonly health: GrpcServerHealth;
  /** What happens in the server. With no subscriber nothing is built. */
  readonly events$: Observable<GrpcServerEvent>;
  /** The shutdown, for the module that has a place in Nest's. @internal */
  readonly drain: ServerDrain;
  private readonly events: EventHub<GrpcServerEvent>;
  private readonly seamReport: SeamReport;
  private readonly standing = new StandingStreams();
  private readonly calls: ServerCalls;
  private readonly connections: ServerConnections;
  private readonly grpcOptions: ServerOptions;
  private packageDefinition: PackageDefinition | undefined;
  private boundPort: number | undefined;
  /** While it begins to listen, and from then on; not where that failed. */
  private listening: Promise<void> | undefined;
  private closed = false;
  private startHook = false;
  private endHook = false;
  /** Ends what was told of a start before, which failed. */
  private stopTelling: (() => void) | undefined;
  /** What the hook at the start of a call waits for: the end of its handler. */
  private readonly startedByHook = new WeakMap<WireCall, () => void>();

  /** @internal Made by `ResilientGrpcServerModule`. */
  constructor(
    private readonly resolved: ResolvedServerOptions,
    private readonly seams: ServerSeams,
  ) {
    const { clock, random } = seams;
    const { onLoadPackageDefinition } = resolved.nest;
    super({
      ...resolved.nest,
      onLoadPackageDefinition: (definition: PackageDefinition, server: unknown) => {
        this.packageDefinition = definition;
        onLoadPackageDefinition?.(definition, server);
      },
    });
    const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
    this.events = events;
    this.seamReport = new SeamReport(SERVER_SEAMS, (untested) => {
      events.emit({ type: 'untested-version', ...untested });
    });
    this.events$ = new Observable((subscriber) =>
      events.listen((event) => {
        subscriber.next(event);
      }, true),
    );
    const logger = new LibraryLogger('ResilientGrpcServer');
    for (const warning of resolved.warnings) logger.warn(warning);
    const log = new ServerLog(logger, clock, debugIsRead);
    events.listen((event) => {
      log.take(event);
    }, false);
    this.health = new GrpcServerHealth(this.standing);
    this.calls = new ServerCalls(clock, events, resolved.leakWarningMs, this.seamReport);
    const { serverOptions, keepalive } = takeKeepalive(grpcServerOptions(resolved));
    this.grpcOptions = serverOptions;
    this.connections = new ServerConnections(
      { ...resolved, ...keepalive },
      {
        clock,
        random,
        events,
        seamReport: this.seamReport,
        endCallsOf: (peer) => {
          this.calls.endOf(peer);
        },
      },
    );
    this.drain = new ServerDrain(resolved.drain, {
      clock,
      events,
      calls: this.calls,
      connections: this.connections,
      health: this.health,
    });
    // What was counted and not yet said.
    this.drain.onEnd(() => {
      log.close();
    });
  }

  /** The port it listens on, as the system chose it for ':0'; undefined while it does not, and 1 for a unix socket. */
  get port(): number | undefined {
    return this.boundPort;
  }

  /** Handlers that still run though their call is over. */
  get lingeringHandlers(): number {
    return this.calls.lingeringHandlers;
  }

  /** Streams that are open, the oldest first. */
  activeStreams(): readonly ActiveServerStream[] {
    return this.calls.activeStreams();
  }

  /**
   * Adds its services, then listens, once: what was closed does not listen again, as all that ends with it would have to be made anew.
   * Where it fails it may be tried again.
   */
  override async listen(callback: (error?: unknown, ...more: unknown[]) => void): Promise<void> {
    if (this.closed || this.listening !== undefined) {
      callback(new Error(this.closed ? CLOSED : LISTENS_ALREADY));
      return;
    }
    this.listening = this.open();
    try {
      await this.listening;
    } catch (error) {
      this.listening = undefined;
      callback(error);
      return;
    }
    callback();
  }

  /** Resolves when the drain is over; begins it where Nest's hooks have not. What is about to listen is waited for, and ended. */
  override async close(): Promise<void> {
    this.closed = true;
    await this.listening?.catch(() => undefined);
    // True: `listen` put it there.
    const server = this.grpcClient as Server | null | undefined;
    if (server === undefined || server === null) return;
    await this.drain.run();
    this.grpcClient = null;
    this.boundPort = undefined;
    this.calls.close();
  }

  /** @internal Called by Nest. */
  override setOnProcessingStartHook(hook: Parameters<ServerGrpc['setOnProcessingStartHook']>[0]): void {
    this.startHook = true;
    super.setOnProcessingStartHook(hook);
  }

  /** @internal Called by Nest. */
  override setOnProcessingEndHook(hook: Parameters<ServerGrpc['setOnProcessingEndHook']>[0]): void {
    this.endHook = true;
    super.setOnProcessingEndHook(hook);
  }

  /** @internal Called by Nest. */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- Nest's own signature
  override createServiceMethod(handler: Function, native: NativeMethod, streaming: GrpcMethodStreamingType): Function {
    // True: Nest calls it with messages, metadata and call.
    const method = servedMethod(native, handler as ServedHandler, this.resolved);
    const serve = implementationOf(method, streaming, this.calls, this.onCall);
    return (wire: WireCall, callback?: Parameters<typeof serve>[1]) => {
      // Whoever traces may come when the server listens already.
      if (!this.startHook) {
        serve(wire, callback);
        return;
      }
      // True: Nest hands its hooks a copy of the call in place of a context.
      const context = { ...wire, operationId: handler.name } as never;
      this.onProcessingStartHook(
        this.transportId,
        context,
        () =>
          new Promise<void>((resolve) => {
            this.startedByHook.set(wire, resolve);
            serve(wire, callback);
          }),
      );
    };
  }

  private readonly onCall: CallHook = (wire) => {
    if (!this.startHook && !this.endHook) return undefined;
    return () => {
      // True: as above.
      if (this.endHook) this.onProcessingEndHook(this.transportId, wire.request as never);
      this.startedByHook.get(wire)?.();
    };
  };

  /** Services first, then the port: a client that finds it open finds them too. */
  private async open(): Promise<void> {
    const server = this.newServer();
    this.seamReport.checkStart({ server });
    this.connections.attach(server);
    this.grpcClient = server;
    this.calls.captures = this.seams.captures();
    await this.bindEvents();
    this.addOwnServices(server);
    this.boundPort = await this.bind(server);
    this.drain.serve(server);
    this.health.listening();
  }

  private newServer(): Server {
    const { telemetry, clock } = this.seams;
    if (telemetry === undefined) return new Server(this.grpcOptions);
    this.stopTelling?.();
    const told = telemetry.forServer(isTracedByOthers());
    this.stopTelling = this.events.listen((event) => {
      told.take(event);
    }, false);
    return observedServer(this.grpcOptions, told, clock);
  }

  private addOwnServices(server: Server): void {
    const { health, reflection, patterns, path } = this.resolved;
    const definition = this.packageDefinition;
    if (definition === undefined) return;
    const contract = loadContract({ packageDefinition: definition }, 'server');
    const services = servedServices(contract.ok ? contract.services : new Map(), this.resolved.nest.package);
    const problems = patternProblems(patterns, services, path);
    if (problems.length > 0) throw new GrpcConfigurationError(problems);
    if (health) this.health.addTo(server, [...services.keys()]);
    if (reflection) {
      const listed = [...services.keys()];
      addReflection(server, { definition, services: listed, health, standing: this.standing, path });
    }
  }

  private bind(server: Server): Promise<number> {
    // True: Nest's options do not type it.
    const credentials = this.resolved.nest.credentials as ServerCredentials | undefined;
    return new Promise((resolve, reject) => {
      server.bindAsync(this.url, credentials ?? ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }
}
