import type { InjectionToken, ModuleMetadata, OptionalFactoryDependency, Type } from '@nestjs/common';
import type { ClientOptions, GrpcOptions } from '@nestjs/microservices';
import type { GrpcClientDefaults, GrpcClientSettings, PropagationOptions } from '../client/settings/client-options.js';
import type { GrpcContract } from '../client/settings/contract.js';
import { defined } from '../policy/options/describe-value.js';

/** Options of `forRoot`. */
export interface ResilientGrpcModuleOptions {
  /** Default settings of all clients; a client's settings override them key by key. */
  readonly defaults?: GrpcClientDefaults | undefined;
  /** Timing of the shutdown of all clients. */
  readonly drain?: DrainOptions | undefined;
  /**
   * Values that outgoing calls inherit from the inbound call on whose behalf they are made. If this option is set, even to `{}`, inbound
   * calls are captured (stored in the async context). If an inbound call is a retry, outgoing calls for it are retried only if they cannot
   * have reached a server.
   * @defaultValue nothing
   */
  readonly propagate?: PropagationOptions | undefined;
}

/** Timing of the shutdown of all clients, or of a server. */
export interface DrainOptions {
  /**
   * Maximum duration of the whole shutdown in milliseconds, 0 or more; calls that last longer are cut off. With 0, a server cuts off calls
   * when the shutdown starts, and clients cut off calls after Nest has closed its servers, however long that takes.
   * @defaultValue 8000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Delay in milliseconds between turning readiness off and the rest of the shutdown, 0 or more; part of `timeoutMs`. Terminus's
   * `gracefulShutdownTimeoutMs` adds a similar delay within the same `timeoutMs`; use only one of the two delays.
   * @defaultValue 0
   */
  readonly readinessDelayMs?: number | undefined;
}

export const DEFAULT_DRAIN = Object.freeze({ timeoutMs: 8_000, readinessDelayMs: 0 });

/** Drain options with defaults applied. */
export type ResolvedDrain = Readonly<Record<keyof typeof DEFAULT_DRAIN, number>>;

/** Applies the defaults of `drain`. */
export function resolveDrain(drain: DrainOptions = {}): ResolvedDrain {
  return Object.freeze({ ...DEFAULT_DRAIN, ...defined(drain) });
}

/** Returns a warning if the readiness delay uses up the whole timeout; otherwise `undefined`. */
export function drainWarning({ timeoutMs, readinessDelayMs }: ResolvedDrain): string | undefined {
  if (readinessDelayMs === 0 || readinessDelayMs < timeoutMs) return undefined;
  return (
    `drain.readinessDelayMs (${String(readinessDelayMs)}) leaves no time for calls to finish, because drain.timeoutMs ` +
    `(${String(timeoutMs)}) includes it; write a larger drain.timeoutMs`
  );
}

/**
 * Options of a client in Nest's form: `name`, `GrpcOptions` or the keys of their `options`, and further settings. If the `url` of
 * `GrpcOptions` is missing or empty, the client connects to Nest's default, `'localhost:5000'`. Options that only a server uses are
 * ignored. A constant of the type `ClientOptions` is accepted, too; `forFeature` and `create` throw if its transport is not gRPC.
 */
export type NestGrpcClientOptions = { readonly name: string | symbol } & (
  | (GrpcOptions & { readonly url?: string | undefined })
  | (GrpcOptions['options'] & Pick<GrpcClientSettings, 'transport'>)
  // Excludes flat options. Otherwise, flat options that lack a required key would match the transports whose keys are all optional.
  | (Exclude<ClientOptions, GrpcOptions> &
      Readonly<Partial<Record<'url' | 'protoPath' | 'packageDefinition', undefined>>>)
) &
  Omit<GrpcClientSettings, keyof GrpcOptions['options'] | 'transport'>;

// Declared after `NestGrpcClientOptions`, because TypeScript's errors about missing keys refer to the last form that could match.
/** Options of a client: its name, its contract, and its settings. */
export type GrpcClientOptions = { readonly name: string | symbol } & GrpcContract & GrpcClientSettings;

/**
 * Options of a client whose settings come from a factory, a class, or an existing provider. Name and contract are static, so that the
 * client's services can be injected.
 */
export type GrpcClientAsyncOptions = { readonly name: string | symbol } & GrpcContract &
  AsyncOptions<GrpcClientSettings, GrpcClientOptionsFactory>;

/** Options of `forRootAsync`: the options of `forRoot` from a factory, a class, or an existing provider. */
export type ResilientGrpcModuleAsyncOptions = AsyncOptions<
  ResilientGrpcModuleOptions,
  ResilientGrpcModuleOptionsFactory
>;

/** Options from a factory, a class, or an existing provider. `Factory` is the interface of the class and of the provider. */
export type AsyncOptions<T, Factory> = { readonly imports?: ModuleMetadata['imports'] } & (
  | {
      readonly inject?: readonly (InjectionToken | OptionalFactoryDependency)[] | undefined;
      // As in Nest's own factories, TypeScript cannot infer the injected types.
      // eslint-disable-next-line @typescript-eslint/no-explicit-any
      readonly useFactory: (...args: any[]) => T | Promise<T>;
      readonly useClass?: undefined;
      readonly useExisting?: undefined;
    }
  | {
      readonly useClass: Type<Factory>;
      readonly useFactory?: undefined;
      readonly useExisting?: undefined;
      readonly inject?: undefined;
    }
  | {
      readonly useExisting: Type<Factory>;
      readonly useFactory?: undefined;
      readonly useClass?: undefined;
      readonly inject?: undefined;
    }
);

/** Creates the options of `forRootAsync`, for `useClass` and `useExisting`. */
export interface ResilientGrpcModuleOptionsFactory {
  createGrpcModuleOptions(): ResilientGrpcModuleOptions | Promise<ResilientGrpcModuleOptions>;
}

/** Creates the settings of a client of `forFeatureAsync`, for `useClass` and `useExisting`. */
export interface GrpcClientOptionsFactory {
  createGrpcClientOptions(): GrpcClientSettings | Promise<GrpcClientSettings>;
}

/** Options of `forFeature` and `forFeatureAsync` that apply to the module. */
export interface ForFeatureExtras {
  /** True if clients and services can be injected in all modules. @defaultValue false */
  readonly isGlobal?: boolean | undefined;
}
