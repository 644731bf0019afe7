import { GrpcMethodStreamingType } from '@nestjs/microservices';
import type { Services } from '../client/settings/contract.js';

/** Pattern of a handler, as the gRPC decorators of Nest create it. */
export interface HandlerPattern {
  readonly service: string;
  readonly rpc: string;
  readonly streaming: GrpcMethodStreamingType;
}

const STREAMING_TYPES: ReadonlySet<unknown> = new Set(Object.values(GrpcMethodStreamingType));

/** The handlers that Nest registered for a server, with a record of the methods that they serve. */
export class ServedHandlers {
  /** Services of the definition. */
  defined: Services = new Map();
  /** Services of the definition that the server serves. */
  services: Services = new Map();
  /** Packages that the server serves, as in its options; '' and `undefined` for all. */
  packages: readonly (string | undefined)[] = [];
  /** True if the server has started. Before that, it may still add services and handlers. */
  isComplete = false;
  /** Handlers by the path of the method that they serve. One handler can serve the methods of several services. */
  private readonly serving = new Map<string, unknown>();

  /** @param registered Nest's handlers by pattern; also contains those of `@MessagePattern` and `@EventPattern` */
  constructor(private readonly registered: ReadonlyMap<string, unknown>) {}

  /** Records that `handler` serves the method with `path`. */
  add(handler: unknown, path: string): void {
    this.serving.set(path, handler);
  }

  /** Returns the patterns of the gRPC handlers, each with a flag that is true if the handler serves a method. */
  patterns(): ReadonlyMap<string, { readonly pattern: HandlerPattern; readonly isServing: boolean }> {
    const found = new Map<string, { pattern: HandlerPattern; isServing: boolean }>();
    const serving = new Set(this.serving.values());
    for (const [route, handler] of this.registered) {
      const pattern = patternOf(route);
      if (pattern !== undefined) found.set(route, { pattern, isServing: serving.has(handler) });
    }
    return found;
  }

  /** Returns the paths of the served methods without a handler. */
  unhandledPaths(): string[] {
    const methods = [...this.services.values()].flatMap((service) => [...service.values()]);
    return methods.map(({ path }) => path).filter((path) => !this.serving.has(path));
  }

  /** Returns the registered pattern of the handler that serves the method with `path`; `undefined` if no handler serves it. */
  routeOf(path: string): string | undefined {
    const serving = this.serving.get(path);
    for (const [route, handler] of this.registered) if (handler === serving) return route;
    return undefined;
  }

  /** Returns the names by which a handler can refer to a service: its full name, and its name relative to each served package. */
  namesOf(service: string): string[] {
    const prefixes = this.packages.map((name) => (name ? `${name}.` : ''));
    const relative = prefixes
      .filter((prefix) => service.startsWith(prefix))
      .map((prefix) => service.slice(prefix.length));
    return [...relative, service];
  }
}

/** Returns the pattern of a gRPC handler; `undefined` for the pattern of another decorator. */
function patternOf(route: string): HandlerPattern | undefined {
  if (!route.startsWith('{')) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(route);
  } catch {
    return undefined;
  }
  return isHandlerPattern(parsed) ? parsed : undefined;
}

/** True if the value is the pattern of a gRPC decorator. */
export function isHandlerPattern(value: unknown): value is HandlerPattern {
  if (typeof value !== 'object' || value === null) return false;
  const { service, rpc, streaming } = value as Partial<Record<keyof HandlerPattern, unknown>>;
  return typeof service === 'string' && typeof rpc === 'string' && STREAMING_TYPES.has(streaming);
}
