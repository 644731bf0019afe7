import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type GrpcObject,
  type ServerOptions,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import type { loadSync, PackageDefinition, MethodDefinition } from '@grpc/proto-loader';
import type { ModulesContainer } from '@nestjs/core';
import { GrpcMethodStreamingType, ServerGrpc } from '@nestjs/microservices';
import { Observable } from 'rxjs';
import { EventHub } from '../call/event-hub.js';
import { reportMissing } from '../channel/quirks/seam.js';
import { entriesOf, hasServerTransport, SERVER_SEAMS, serverSubjects } from '../channel/quirks/unbound-server.js';
import {
  loadContract,
  loadDefinition,
  packageOf,
  unknownPackageMessage,
  type Services,
} from '../client/settings/contract.js';
import { patternProblems } from '../client/settings/method-patterns.js';
import { errorMessage } from '../errors/error-message.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { pathOf } from '../policy/options/describe-value.js';
import { elasticAgent, ElasticServerTelemetry } from '../telemetry/agents/elastic-telemetry.js';
import { hasTracedHandlers, isInstrumented } from '../telemetry/agents/traced-handlers.js';
import type { GrpcTelemetry, ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import { type Clock, type Timer, eventLoopIdleMs } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { ServedHandler, ServedMethod } from './calls/served-call.js';
import type { WireCall } from './calls/wire-call.js';
import { ServerCalls, type ActiveServerStream } from './calls/server-calls.js';
import { GrpcServerHealth } from './health/serving-health.js';
import { GrpcServer } from './grpc/grpc-server.js';
import { GrpcJsServer } from './grpc-js-server.js';
import type { ConversionListener } from './grpc/innermost-call.js';
import { SocketConnections } from './grpc/socket-connections.js';
import { maxReceiveBytes, maxSendBytes, transportSettings } from './grpc/transport-settings.js';
import { ConcurrencyLimit } from './overload/concurrency-limit.js';
import { OverloadGate, unreadRefusal } from './overload/overload-gate.js';
import { OverloadState } from './overload/overload-state.js';
import {
  connectedServers,
  createdServers,
  grpcHandlers,
  handlerNames,
  handlersByRoute,
  handlersCalledByOthers,
  hideStreamTypes,
  type GlobalEnhancers,
  type HandlerNames,
  ServedHandlers,
  unusedHandlerLines,
} from './application-handlers.js';
import { listenAddress, listenProblem } from './listen-address.js';
import { loadForNest, requireProtoLoader } from './proto-loader.js';
import { addReflection } from './reflection.js';
import { grpcServerOptions } from './grpc-server-options.js';
import {
  implementationOf,
  isGated,
  servedMethod,
  servedServices,
  unimplemented,
  type CallHook,
  type NativeMethod,
} from './served-methods.js';
import { StatusCode } from '../status/status-code.js';
import { addOncePath } from './once/once-paths.js';
import { OnceServer } from './once/once-server.js';
import { addOnceInterceptor, hasOwnPipes, isOnceHandler, prepareOnce } from './once/once.decorators.js';
import { ProcessPauses } from './process-pauses.js';
import { ServerDrain } from './server-drain.js';
import type { GrpcServerEvent, ServerOverload } from '../call/server-event.js';
import { SERVER_LINES } from './server-lines.js';
import { EventLog } from '../telemetry/log/event-log.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { duration, listed } from '../telemetry/log/log-text.js';
import type { ResolvedServerMethod, ResolvedServerOptions } from './server-options.js';
import { ServiceStreams } from './health/service-streams.js';
import { checkedSerializer, type MessageChecks } from '../messages/checked-serializer.js';
import { filesOf } from '../messages/file-descriptors.js';

type ConcurrencyOptions = Pick<ResolvedServerMethod, 'maxConcurrentCalls'>;

export interface ServerDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Returns true if outgoing calls can be bound to inbound calls; called when the server starts to listen. */
  readonly captures: () => boolean;
  readonly telemetry?: GrpcTelemetry | undefined;
  readonly modules: ModulesContainer;
  readonly enhancers?: GlobalEnhancers | undefined;
}

/** Maximum number of methods in the log line that lists methods without a handler. */
const MAX_LISTED_METHODS = 20;

/** Time in milliseconds within which a connected server must start after the application has started. */
const START_CHECK_DELAY_MS = 5_000;

const CREATED_DIRECTLY_MESSAGE =
  'ResilientGrpcServer: expected an instance from ResilientGrpcServerModule, got new ResilientGrpcServer(options); ' +
  'write imports: [ResilientGrpcServerModule.forRoot(options)] in a module, and strategy: app.get(ResilientGrpcServer)';
const CALLED_BY_OTHERS_MESSAGE =
  'this handler would also run without a call, because JavaScript or Nest calls methods of this name; ' +
  "rename the method, and name the rpc in its decorator: @GrpcMethod('Service', 'Rpc')";
const THENABLE_MESSAGE =
  "Nest cannot serve an rpc named 'then', because it awaits the object of handlers; " +
  'give the rpc another name in the .proto file (Then in upper case works)';
const ONCE_UNARY_MESSAGE = '@Once() is for unary handlers with @GrpcMethod(); remove it';
const ONCE_MISSING_MESSAGE = (path: string): string =>
  `required by the @Once() handler of ${path}; write once: {} to keep keys in the memory of this process, or once: { store } if several serve it`;
const CLOSED_MESSAGE =
  'This ResilientGrpcServer is closed and cannot listen again; close the application and create a new one (NestFactory.create)';
const ALREADY_LISTENING_MESSAGE =
  'This ResilientGrpcServer is already listening; start its microservice once; ' +
  'for a second address, call forRoot() again and connect its server by its own token (useExisting: ResilientGrpcServer)';

const ON_GRPC_JS_MESSAGE =
  "serving on grpc-js's transport (transport: 'grpc-js'). Off: connections.max, pings of clients unless keepalive is set, log lines of " +
  'connections, sizes of messages in metrics and traces, the end of connections whose clients do not react to a shutdown or do not read, and refusals before a request is read';

/**
 * Transport strategy from {@link ResilientGrpcServerModule} that replaces `Transport.GRPC`. It drains at shutdown, emits events, and
 * stops handlers when their calls end. Register it with `app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, {
 * inheritAppConfig: true })`.
 */
export class ResilientGrpcServer extends ServerGrpc {
  /** Status of `grpc.health.v1.Health`; can be set manually per service. */
  readonly health: GrpcServerHealth;
  /** Events of the server. 'call-start' and 'call-end' are built only if there is a subscriber. */
  readonly events$: Observable<GrpcServerEvent>;
  /** Drain of the server, for the Nest lifecycle hooks of the module. @internal */
  readonly drain: ServerDrain;
  private readonly events: EventHub<GrpcServerEvent>;
  private readonly serviceStreams = new ServiceStreams();
  private readonly calls: ServerCalls;
  private readonly overloadState: OverloadState;
  private readonly gate: OverloadGate;
  /** Methods whose calls are subject to the gate and to no other limit, by path. */
  private readonly gatedMethods = new Map<string, ServedMethod>();
  private readonly serverLimit: ConcurrencyLimit | undefined;
  /** Limits of methods, by path. Kept after a failed start, because Nest creates the methods again at the next start. */
  private readonly methodLimits = new Map<string, ConcurrencyLimit>();
  /** Connections on the transport of this library; `undefined` on grpc-js's. */
  private readonly connections: SocketConnections | undefined;
  private readonly grpcOptions: ServerOptions;
  /** Runs `@Once()` handlers; `undefined` without the option. */
  private readonly once: OnceServer | undefined;
  /** Methods with `@Once()` handlers, by path. */
  private readonly onceMethods = new Map<string, ServedMethod>();
  private readonly servedHandlers = new ServedHandlers(this.getHandlers());
  private knownHandlerNames: HandlerNames | undefined;
  private packageDefinition: PackageDefinition | undefined;
  private boundPort: number | undefined;
  /**
   * Promise of the current start, which resolves when the server is listening; `undefined` before the server starts to listen, and after a
   * failed start.
   */
  private listening: Promise<void> | undefined;
  private readonly ownLogger = new LibraryLogger('ResilientGrpcServer');
  private readonly log: EventLog<GrpcServerEvent>;
  private readonly pauses: ProcessPauses;
  private closed = false;
  /** Timer of the check that the server has started; `undefined` if the check is not needed. */
  private startCheck: Timer | undefined;
  private hasStartHook = false;
  private hasEndHook = false;
  /** Stops the telemetry of the latest start. Also called at the next start, because a failed start can be repeated. */
  private stopTelemetry: (() => void) | undefined;
  /** Functions, by call, that resolve the promise of Nest's start hook at the end of the handler. */
  private readonly startedByHook = new WeakMap<WireCall, () => void>();

  /**
   * @internal Created by `ResilientGrpcServerModule`.
   * @throws TypeError if there are no `dependencies`
   */
  constructor(
    private readonly resolved: ResolvedServerOptions,
    private readonly dependencies: ServerDependencies,
  ) {
    // JavaScript applications might create the server like any other strategy.
    if ((dependencies as ServerDependencies | undefined) === undefined) throw new TypeError(CREATED_DIRECTLY_MESSAGE);
    const { clock, random } = dependencies;
    super(resolved.nest);
    // Nest reads the types when it registers the handlers, which is after it has created all providers.
    hideStreamTypes(dependencies.modules);
    const [called] = handlersCalledByOthers(dependencies.modules);
    if (called !== undefined) throw new GrpcConfigurationError([{ path: called, message: CALLED_BY_OTHERS_MESSAGE }]);
    for (const found of grpcHandlers(dependencies.modules)) {
      if (!isOnceHandler(found.handler)) continue;
      const handler = prepareOnce(found);
      const add = (): void => {
        addOnceInterceptor(handler);
      };
      if (hasOwnPipes(found)) add();
      else dependencies.enhancers?.whenPiped.push(add);
    }
    const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
    this.events = events;
    this.once = resolved.once && new OnceServer(resolved.once, clock, events, random);
    this.events$ = new Observable((subscriber) =>
      events.listen((event) => {
        subscriber.next(event);
      }, true),
    );
    const { ownLogger: logger } = this;
    const isOnSocket = resolved.transport === 'socket' && hasServerTransport();
    for (const warning of resolved.warnings) logger.write('warn', warning, { event: 'configuration' });
    this.log = new EventLog(SERVER_LINES, undefined, logger, clock);
    events.listen((event) => {
      this.log.take(event);
    }, false);
    this.health = new GrpcServerHealth(this.serviceStreams);
    this.calls = new ServerCalls(clock, events);
    this.pauses = new ProcessPauses(clock, events);
    this.overloadState = new OverloadState(clock, events);
    this.gate = new OverloadGate(clock, events, this.overloadState, eventLoopIdleMs);
    this.serverLimit = this.limitOf(resolved);
    this.grpcOptions = grpcServerOptions({ ...resolved, transport: isOnSocket ? 'socket' : 'grpc-js' });
    if (isOnSocket) {
      const settings = transportSettings(this.grpcOptions, resolved.maxConnections);
      const endCallsOf = this.calls.endOf.bind(this.calls);
      const wantedOf = this.gate.wantedOf.bind(this.gate);
      this.connections = new SocketConnections(settings, resolved, { clock, random, events, endCallsOf, wantedOf });
    }
    this.drain = new ServerDrain(resolved.drain, { clock, events, calls: this.calls, health: this.health });
    // Writes pending summary lines, even if another shutdown hook hangs and Nest never calls `close`.
    this.drain.onEnd(() => {
      this.log.close();
    });
  }

  /** Address on which the server listens, as configured: host and port, or a Unix socket. */
  get address(): string {
    return this.url;
  }

  /**
   * Port on which the server listens, as chosen by the operating system for ':0'; `undefined` if the server is not listening, 1 for a
   * Unix socket.
   */
  get port(): number | undefined {
    return this.boundPort;
  }

  /** Number of handlers that are still running after the end of their call. */
  get lingeringHandlers(): number {
    return this.calls.lingeringHandlers;
  }

  /** Returns the open streams, oldest first. */
  activeStreams(): readonly ActiveServerStream[] {
    return this.calls.activeStreams();
  }

  /** Returns the numbers of waiting and refused calls, the start of the current overload, and the concurrency limits. */
  overload(): ServerOverload {
    return this.overloadState.snapshot();
  }

  /**
   * Settles a write in doubt, after you have looked what it did: it was done, and its callers get `response`; or with `undefined`, it was never
   * done, and may run. `method` is a path such as '/orders.v1.Orders/Create', `scope` what `once.scopeBy` returned for its caller. Returns
   * false if the write is not in doubt.
   * @throws TypeError if `method` has no `@Once()` handler; the error of the store
   */
  async settleWrite(method: string, key: string, response: object | undefined, scope = ''): Promise<boolean> {
    const served = this.onceMethods.get(method);
    if (this.once === undefined || served === undefined)
      throw new TypeError(`settleWrite: expected the path of an @Once() handler, got '${method}'`);
    const end = response && { code: StatusCode.OK, details: 'OK', bytes: served.serialize(response) };
    return (await this.once.settle(scope, method, key, end)).is === 'recorded';
  }

  /**
   * Adds the services, then listens. After a failure, this method can be called again. A closed server cannot listen again, because its
   * drain and health status cannot be reset.
   */
  override async listen(callback: (error?: unknown, ...more: unknown[]) => void): Promise<void> {
    if (this.closed || this.listening !== undefined) {
      callback(new Error(this.closed ? CLOSED_MESSAGE : ALREADY_LISTENING_MESSAGE));
      return;
    }
    this.startCheck?.clear();
    this.listening = this.open();
    try {
      await this.listening;
    } catch (error) {
      this.listening = undefined;
      callback(error);
      return;
    }
    const address = listenAddress(this.url, this.boundPort);
    this.ownLogger.write('log', `listening on ${address}`, { event: 'listening', address });
    if (this.connections === undefined) this.ownLogger.write('log', ON_GRPC_JS_MESSAGE, { event: 'configuration' });
    this.reportHandlers();
    this.pauses.start();
    callback();
  }

  /**
   * Sets the health to SERVING once the server is listening. Logs a warning if the server is not connected to the application, or if it
   * does not start within 5 s.
   * @internal Called by the module.
   */
  markBootstrapped(): void {
    this.health.markBootstrapped();
    if (this.listening !== undefined || this.closed) return;
    const { clock, modules } = this.dependencies;
    if (connectedServers(modules).includes(this)) {
      this.startCheck ??= clock.setTimer(this.warnNotStarted, START_CHECK_DELAY_MS);
      return;
    }
    const created = createdServers(modules, ResilientGrpcServer).length;
    const packages = [this.resolved.nest.package].flat().filter(Boolean).join(', ');
    const name = created > 1 && packages !== '' ? `${this.url} (${packages})` : this.url;
    const text =
      `the server for ${name} is not connected to this application and serves no calls; ` +
      (created > 1
        ? `the application has ${String(created)} servers, one per forRoot() of ResilientGrpcServerModule, and app.get(ResilientGrpcServer) returns only one of them; ` +
          'write one forRoot() with lists in `package` and `protoPath`, ' +
          'or connect each server by its own token (useExisting: ResilientGrpcServer) if their addresses differ'
        : 'call app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, { inheritAppConfig: true }) and await app.startAllMicroservices() before app.listen(); ' +
          'in an application without HTTP, call NestFactory.createMicroservice(AppModule, { inject: [ResilientGrpcServer], useFactory: (strategy) => ({ strategy }) }); ' +
          'or ignore this line if another application starts the server');
    this.ownLogger.write('warn', text, { event: 'not-connected', address: this.url });
  }

  private readonly warnNotStarted = (): void => {
    if (this.drain.draining) return;
    const text =
      `the server for ${this.url} has not started ${duration(START_CHECK_DELAY_MS)} after the application started, so it serves no calls; ` +
      'call app.startAllMicroservices() after app.connectMicroservice(), or app.listen() after NestFactory.createMicroservice(); ' +
      'ignore this line if the application starts the server later';
    this.ownLogger.write('warn', text, { event: 'not-started', address: this.url });
  };

  /** Waits for a pending `listen()`, starts the drain if Nest's hooks have not, and resolves when the drain is over. */
  override async close(): Promise<void> {
    this.closed = true;
    this.startCheck?.clear();
    await this.listening?.catch(() => undefined);
    // The cast is safe: `listen` assigns this property.
    const server = this.grpcClient as Server | null | undefined;
    if (server === undefined || server === null) return;
    try {
      await this.drain.run();
    } finally {
      // Runs even if the drain failed. A failed drain has closed the port and the connections, but has not notified its listeners.
      this.grpcClient = null;
      this.boundPort = undefined;
      await this.once?.close();
      this.stopTelemetry?.();
      this.pauses.stop();
      this.calls.close();
      this.overloadState.close();
      this.log.close();
    }
  }

  /** @internal Called by tracing libraries. */
  override setOnProcessingStartHook(hook: Parameters<ServerGrpc['setOnProcessingStartHook']>[0]): void {
    this.hasStartHook = true;
    super.setOnProcessingStartHook(hook);
  }

  /** @internal Called by tracing libraries. */
  override setOnProcessingEndHook(hook: Parameters<ServerGrpc['setOnProcessingEndHook']>[0]): void {
    this.hasEndHook = true;
    super.setOnProcessingEndHook(hook);
  }

  /** @internal Called by Nest 11's constructor. Nest's own method exits the process in a bundle that lacks the package. */
  protected override loadPackage<T>(name: string, _context: string, load: () => T): T {
    // The cast is safe: if `load` fails, `loadForNest` loads the package of the same name.
    return loadForNest(name, load) as T;
  }

  /** @internal Called by the constructor of Nest 12 in place of {@link loadPackage}. */
  protected override loadPackageSynchronously<T>(name: string, context: string, load: () => T): T {
    return this.loadPackage(name, context, load);
  }

  /** @internal Called by Nest for each handler. */
  override addHandler(...handler: Parameters<ServerGrpc['addHandler']>): void {
    this.dependencies.enhancers?.handlerAdded();
    super.addHandler(...handler);
  }

  /** @internal Called by Nest. The errors of Nest's own method name neither the option nor the remedy. */
  override loadProto(): GrpcObject {
    const { nest, path } = this.resolved;
    // The casts are safe: the options were validated, and the loader has `loadSync`.
    const given = nest.packageDefinition as PackageDefinition | undefined;
    const load: typeof loadSync = (files, options) =>
      (requireProtoLoader(nest.protoLoader) as { readonly loadSync: typeof loadSync }).loadSync(files, options);
    const definition = given ?? loadDefinition(nest, path, load);
    this.packageDefinition = definition;
    nest.onLoadPackageDefinition?.(definition, this.grpcClient);
    const root = loadPackageDefinition(withCheckedResponses(definition, this.events));
    const packages: readonly (string | undefined)[] = [nest.package].flat();
    const isMissing = (name: string | undefined) => this.lookupPackage(root, name) === undefined;
    if (!packages.some(isMissing)) return root;
    const contract = loadContract({ packageDefinition: definition }, path);
    if (!contract.ok) throw new GrpcConfigurationError(contract.problems);
    const known = new Set([...contract.services.keys()].map(packageOf));
    const at = pathOf(path, 'package');
    const problems = packages.flatMap((name, index) => {
      if (name === undefined || !isMissing(name)) return [];
      return [
        { path: Array.isArray(nest.package) ? pathOf(at, index) : at, message: unknownPackageMessage(name, known) },
      ];
    });
    throw new GrpcConfigurationError(problems);
  }

  /** @internal Called by Nest. Nest 11's own method fails if there is no package. */
  override lookupPackage(root: GrpcObject, name: string | undefined): unknown {
    let found: unknown = root;
    for (const part of name ? name.split('.') : []) {
      if (typeof found !== 'object' && typeof found !== 'function') return undefined;
      found = Reflect.get(found ?? {}, part);
    }
    return found;
  }

  /** @internal Called by Nest. Nest's own method takes a package with a subpackage `service` for a service. */
  override getServiceNames(root: GrpcObject, prefix = ''): { name: string; service: ServiceClientConstructor }[] {
    if (typeof root === 'function') return [];
    return Object.entries(root).flatMap(([key, value]) => {
      if (typeof value === 'function') return [{ name: prefix + key, service: value }];
      // Only the definition of a message or an enum has a format.
      return typeof value.format === 'string' ? [] : this.getServiceNames(value as GrpcObject, `${prefix}${key}.`);
    });
  }

  /** @internal Called by Nest. Adds the methods without a handler, so that the status of their calls names the path. */
  override async createService(constructor: ServiceClientConstructor, name: string): Promise<object> {
    // The cast is safe: Nest returns the implementations by name.
    const service = (await super.createService(constructor, name)) as Record<string, unknown>;
    for (const [method, definition] of Object.entries(constructor.service)) {
      const isHandled = [method, definition.originalName].some(
        (key) => key !== undefined && Object.hasOwn(service, key),
      );
      // A promise never resolves to an object with a `then()`.
      if (!isHandled && method !== 'then') service[method] = unimplemented(definition);
    }
    return service;
  }

  /** @internal Called by Nest. */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- Nest's own signature
  override createServiceMethod(handler: Function, native: NativeMethod, streaming: GrpcMethodStreamingType): Function {
    // The cast is safe: Nest calls the handler with messages, metadata, and the call.
    const method = servedMethod(native, handler as ServedHandler, this.resolved);
    // Nest has named the handler like its key in the object that it awaits.
    if (handler.name === 'then') throw new GrpcConfigurationError([{ path: method.path, message: THENABLE_MESSAGE }]);
    this.servedHandlers.add(handler, method.path);
    const { calls, gate, onCall } = this;
    const limits = [this.methodLimit(method), this.serverLimit].filter((limit) => limit !== undefined);
    if (limits.length === 0 && isGated(method, streaming)) this.gatedMethods.set(method.path, method);
    const once = this.onceOf(method, native, streaming);
    const serve = implementationOf(method, streaming, { calls, gate, limits, onCall, once });
    return (wire: WireCall, callback?: Parameters<typeof serve>[1]) => {
      // Checked per call, because a tracing library may set its hooks after the server has started to listen.
      if (!this.hasStartHook) {
        serve(wire, callback);
        return;
      }
      // The cast is safe: Nest passes its start hook a copy of the call instead of a context.
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

  /** Returns what runs the handler of a method once for each key; `undefined` if it is not an `@Once()` handler. */
  private onceOf(method: ServedMethod, native: NativeMethod, streaming: GrpcMethodStreamingType) {
    const { path, kind } = method;
    const route = this.servedHandlers.routeOf(path);
    const handler = route === undefined ? undefined : handlersByRoute(this.dependencies.modules).get(route);
    if (handler === undefined || !isOnceHandler(handler)) return undefined;
    const { once, resolved } = this;
    if (kind !== 'unary' || streaming !== GrpcMethodStreamingType.NO_STREAMING)
      throw new GrpcConfigurationError([{ path, message: ONCE_UNARY_MESSAGE }]);
    if (once === undefined)
      throw new GrpcConfigurationError([{ path: pathOf(resolved.path, 'once'), message: ONCE_MISSING_MESSAGE(path) }]);
    once.add(path, filesOf(native));
    this.onceMethods.set(path, method);
    return once;
  }

  private readonly onCall: CallHook = (wire) => {
    if (!this.hasStartHook && !this.hasEndHook) return undefined;
    return () => {
      // The cast is safe: Nest passes its end hook the request instead of a context.
      if (this.hasEndHook) this.onProcessingEndHook(this.transportId, wire.request as never);
      this.startedByHook.get(wire)?.();
    };
  };

  private methodLimit({ options, path }: ServedMethod): ConcurrencyLimit | undefined {
    const limit = this.methodLimits.get(path) ?? this.limitOf(options, path);
    if (limit !== undefined) this.methodLimits.set(path, limit);
    return limit;
  }

  private limitOf({ maxConcurrentCalls }: ConcurrencyOptions, path?: string): ConcurrencyLimit | undefined {
    if (maxConcurrentCalls === undefined) return undefined;
    return new ConcurrencyLimit(
      { path, ...maxConcurrentCalls },
      this.dependencies.clock,
      this.events,
      this.overloadState,
    );
  }

  /** Adds the services before it opens the port, so that clients never reach a server without services. */
  private async open(): Promise<void> {
    const server = this.newServer();
    reportMissing(SERVER_SEAMS, serverSubjects(), (untested) => {
      this.events.emit({ type: 'untested-version', ...untested });
    });
    this.grpcClient = server;
    this.calls.captures = this.dependencies.captures();
    await this.bindEvents();
    this.addOwnServices(server);
    const { once } = this;
    if (once !== undefined) {
      await once.open().catch((error: unknown) => {
        throw new Error(`once.store: the server needs its store of keys to start: ${errorMessage(error)}`, {
          cause: error,
        });
      });
      for (const path of once.paths) addOncePath(server, path, once);
    }
    this.boundPort = await this.bind(server);
    this.drain.setServer(server);
    this.health.markListening();
  }

  /** Logs the methods without a handler, and the handlers that receive no calls from any server of the application. */
  private reportHandlers(): void {
    const { servedHandlers, ownLogger } = this;
    servedHandlers.isComplete = true;
    const unhandled = servedHandlers.unhandledPaths();
    if (unhandled.length > 0) {
      const methods = listed(unhandled, MAX_LISTED_METHODS);
      const text = `methods without a handler (UNIMPLEMENTED): ${methods}`;
      ownLogger.write('log', text, { event: 'methods-unhandled', methods });
    }
    const { modules, enhancers } = this.dependencies;
    const omitted = enhancers?.omitted(modules) ?? [];
    if (omitted.length > 0) {
      const kinds = omitted.join(' and ');
      const remedy =
        'write app.connectMicroservice(options, { inheritAppConfig: true }), or @UseGuards() and so on at the handlers';
      const text = `the global ${kinds} of the application do not run for the handlers of this server; ${remedy}`;
      ownLogger.write('warn', text, { event: 'enhancers-omitted', kinds });
    }
    const connected = connectedServers(modules);
    const servers = connected.flatMap((server) =>
      server instanceof ResilientGrpcServer ? [server.servedHandlers] : [],
    );
    if (servers.some(({ isComplete }) => !isComplete)) return;
    const isUnknown = (server: ResilientGrpcServer) => !connected.includes(server);
    const hasOtherServers =
      servers.length < connected.length || createdServers(modules, ResilientGrpcServer).some(isUnknown);
    for (const line of unusedHandlerLines({ servers, hasOtherServers, names: this.handlerNames }))
      ownLogger.write('warn', ...line);
  }

  /** Names of the handlers. Cached: each search reads all controllers, and handlers do not change after startup. */
  private get handlerNames(): HandlerNames {
    return (this.knownHandlerNames ??= handlerNames(this.dependencies.modules));
  }

  private readonly conversionListener: ConversionListener = {
    onUnserializable: (path, reason, cause) => {
      if (!this.events.wanted) return;
      const route = this.servedHandlers.routeOf(path);
      const handler = route === undefined ? undefined : this.handlerNames.get(route)?.at(-1);
      const source = handler === undefined ? '' : ` of ${handler}`;
      const text = `the response${source} does not match the proto: ${reason}; the caller received INTERNAL`;
      const failure = new TypeError(text, { cause });
      // The stack contains frames of grpc-js and this library only, none of the handler.
      delete failure.stack;
      this.events.emit({ type: 'handler-failed', path, error: failure });
    },
    onUnreadable: (path, error, code) => {
      if (this.events.wanted) this.events.emit({ type: 'request-unreadable', path, error, code });
    },
  };

  private newServer(): Server {
    const { telemetry } = this.dependencies;
    const probe = new Server({ 'grpc.enable_channelz': 0 });
    const isTraced = hasTracedHandlers(probe, entriesOf(probe));
    if (telemetry === undefined) return this.serverWith(undefined, isTraced);
    this.stopTelemetry?.();
    const recorder = telemetry.forServer(isInstrumented(probe) ? 'none' : isTraced ? 'unless-active' : 'all');
    const unsubscribe = this.events.listen((event) => {
      recorder.take(event);
    }, false);
    const stopObserving = recorder.observe(this);
    this.stopTelemetry = () => {
      unsubscribe();
      stopObserving();
    };
    return this.serverWith(recorder, isTraced);
  }

  private serverWith(telemetry: ServerTelemetry | undefined, isTraced: boolean): Server {
    const { connections, conversionListener: conversions, grpcOptions, gate, gatedMethods } = this;
    const { clock } = this.dependencies;
    if (connections === undefined) return new GrpcJsServer(grpcOptions, { clock, telemetry, isTraced, conversions });
    const elastic = elasticAgent();
    return new GrpcServer(grpcOptions, connections, {
      clock,
      telemetry: elastic === undefined ? telemetry : new ElasticServerTelemetry(elastic, telemetry),
      isTraced,
      conversions,
      onCut: (path) => {
        if (this.events.wanted) this.events.emit({ type: 'trailers-omitted', path });
      },
      maxReceiveBytes: maxReceiveBytes(grpcOptions),
      maxSendBytes: maxSendBytes(grpcOptions),
      sendsMetrics: Boolean(grpcOptions['grpc.server_call_metric_recording']),
      refuse: isTraced ? () => undefined : unreadRefusal(gate, gatedMethods, telemetry),
    });
  }

  private addOwnServices(server: Server): void {
    const { health, reflection, patterns, path } = this.resolved;
    const definition = this.packageDefinition;
    if (definition === undefined) return;
    const contract = loadContract({ packageDefinition: definition }, 'server');
    const defined: Services = contract.ok ? contract.services : new Map();
    const services = servedServices(defined, this.resolved.nest.package);
    Object.assign(this.servedHandlers, { defined, services, packages: [this.resolved.nest.package].flat() });
    const problems = patternProblems(patterns, services, path);
    if (problems.length > 0) throw new GrpcConfigurationError(problems);
    if (health) this.health.addTo(server, [...services.keys()]);
    if (reflection) {
      const { protoPath, protoLoader, loader } = this.resolved.nest;
      // Another loader may read the files differently.
      const files = protoPath === undefined || protoLoader !== undefined ? undefined : { protoPath, loader };
      const listed = [...services.keys()];
      addReflection(server, { definition, files, services: listed, health, serviceStreams: this.serviceStreams, path });
    }
  }

  private bind(server: Server): Promise<number> {
    // The cast is needed because Nest's options do not type the credentials.
    const { nest, path } = this.resolved;
    const credentials = nest.credentials as ServerCredentials | undefined;
    return new Promise((resolve, reject) => {
      server.bindAsync(this.url, credentials ?? ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) {
          resolve(port);
          return;
        }
        const { key, message } = listenProblem(this.url, error);
        reject(new GrpcConfigurationError([{ path: pathOf(path, key), message }]));
      });
    });
  }
}

function withCheckedResponses(definition: PackageDefinition, events: MessageChecks['events']): PackageDefinition {
  const checks = { events, rejects: false };
  const copies = Object.entries(definition).map(([name, entry]) => {
    // Messages and enums have a string `format`. An entry without one is a service.
    if (typeof entry.format === 'string') return [name, entry] as const;
    const methods = Object.entries(entry as Readonly<Record<string, MethodDefinition<object, object>>>);
    const checked = methods.map(([key, method]) => {
      const files = filesOf(method);
      const write = checkedSerializer({ path: method.path, files }, method.responseSerialize, 'response', checks);
      return [key, { ...method, responseSerialize: write }] as const;
    });
    return [name, Object.fromEntries(checked)] as const;
  });
  // Safe cast: the entries are those of `definition`, with other serializers.
  return Object.fromEntries(copies) as PackageDefinition;
}
