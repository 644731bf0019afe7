import type { InjectionToken, ModuleMetadata, OptionalFactoryDependency, Type } from '@nestjs/common';
import type { GrpcClientDefaults, GrpcClientSettings, PropagationOptions } from '../client/settings/client-options.js';
import type { GrpcContract } from '../client/settings/contract.js';

/** Options of `forRoot`. */
export interface ResilientGrpcModuleOptions {
  /** Settings of all clients; a client's own win, key by key. */
  readonly defaults?: GrpcClientDefaults | undefined;
  /** How the clients end with the application. */
  readonly drain?: DrainOptions | undefined;
  /**
   * What an inbound call hands on to the calls that are made while it is served. Where it is given, `{}` too, inbound calls are
   * looked for, and what serves a retry does not retry in turn.
   * @defaultValue nothing
   */
  readonly propagate?: PropagationOptions | undefined;
}

/** How clients end with the application. */
export interface DrainOptions {
  /** The whole shutdown, in milliseconds, 0 or more; calls that last longer are cut off. @defaultValue 10000 */
  readonly timeoutMs?: number | undefined;
  /**
   * From readiness down to the rest of the shutdown, in milliseconds, 0 or more; a part of `timeoutMs`. Terminus'
   * `gracefulShutdownTimeoutMs` is another such delay, within the same `timeoutMs`: have one of the two.
   * @defaultValue 0
   */
  readonly readinessDelayMs?: number | undefined;
}

/** What holds where `drain` says nothing. */
export const DEFAULT_DRAIN = Object.freeze({ timeoutMs: 10_000, readinessDelayMs: 0 });

/** A client: its name, its contract, its settings. */
export type GrpcClientOptions = { readonly name: string | symbol } & GrpcContract & GrpcClientSettings;

/** A client whose settings come from a factory. Name and contract are static, so that its services can be injected. */
export type GrpcClientAsyncOptions = { readonly name: string | symbol } & GrpcContract &
  AsyncSource<GrpcClientSettings>;

/** Options of `forRoot` from a factory. */
export type ResilientGrpcModuleAsyncOptions = AsyncSource<ResilientGrpcModuleOptions>;

/** Options from a factory, a class of its own, or a provider that exists. */
export type AsyncSource<T> = Pick<ModuleMetadata, 'imports'> &
  (
    | {
        readonly inject?: readonly (InjectionToken | OptionalFactoryDependency)[];
        // What `inject` names is beyond the type system, as in Nest's own factories.
        // eslint-disable-next-line @typescript-eslint/no-explicit-any
        readonly useFactory: (...args: any[]) => T | Promise<T>;
        readonly useClass?: undefined;
        readonly useExisting?: undefined;
      }
    | {
        readonly useClass: Type<OptionsFactory<T>>;
        readonly useFactory?: undefined;
        readonly useExisting?: undefined;
        readonly inject?: undefined;
      }
    | {
        readonly useExisting: Type<OptionsFactory<T>>;
        readonly useFactory?: undefined;
        readonly useClass?: undefined;
        readonly inject?: undefined;
      }
  );

/** What `useClass` and `useExisting` name. */
export interface OptionsFactory<T> {
  createGrpcOptions(): T | Promise<T>;
}

/** Options of `forFeature` that belong to the module. */
export interface ForFeatureExtras {
  /** Clients and services can be injected everywhere. @defaultValue false */
  readonly isGlobal?: boolean | undefined;
}
