import { Scope, type InjectionToken, type Provider } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { findService, shortName } from '../client/settings/contract.js';
import type { ClientDefinition } from './client-definition.js';
import { ClientRegistry } from './client-registry.js';
import {
  getGrpcClientSettingsToken,
  getGrpcClientToken,
  getGrpcServiceToken,
  givenSettingsToken,
} from './grpc-tokens.js';
import { interceptorSource } from './interceptor-source.js';
import { ROOT_OPTIONS } from './resilient-grpc-core.module.js';

/** Provider with an explicit token. */
export type TokenProvider = Exclude<Provider, { readonly prototype: unknown }> & { readonly provide: InjectionToken };

/** Returns the providers of a client, its settings, and its services. A separate provider supplies the settings as given. */
export function clientProviders(definition: ClientDefinition): readonly TokenProvider[] {
  const { name } = definition;
  const token = getGrpcClientToken(name);
  const client: TokenProvider = {
    provide: token,
    inject: [ClientRegistry, getGrpcClientSettingsToken(name), ModuleRef, { token: ROOT_OPTIONS, optional: true }],
    useFactory: (registry: ClientRegistry, settings: unknown, moduleRef: ModuleRef) =>
      registry.obtain(definition, settings, interceptorSource(moduleRef)),
  };
  const settings: TokenProvider = {
    provide: getGrpcClientSettingsToken(name),
    inject: [givenSettingsToken(name)],
    useFactory: (given: unknown) => given,
  };
  // Existing code injects by the bare name, as Nest's ClientsModule provides it.
  const bareName: readonly TokenProvider[] = token === name ? [] : [{ provide: name, useExisting: token }];
  return [settings, client, ...bareName, ...serviceProviders(definition, token)];
}

function serviceProviders(
  { name, label, services }: ClientDefinition,
  client: InjectionToken,
): readonly TokenProvider[] {
  const names = [...services.keys()];
  const full = names.map((service) => ({
    provide: getGrpcServiceToken(name, service),
    inject: [client],
    useFactory: (made: ResilientGrpcClient) => made.getService(service),
  }));
  const short = [...new Set(names.map(shortName))]
    .filter((service) => !services.has(service))
    .map((service): TokenProvider => {
      const provide = getGrpcServiceToken(name, service);
      const [only, ...others] = names.filter((one) => shortName(one) === service);
      if (only !== undefined && others.length === 0) return { provide, useExisting: getGrpcServiceToken(name, only) };
      // Transient: Nest runs this factory, which throws, only if the ambiguous short name is injected.
      return { provide, scope: Scope.TRANSIENT, useFactory: () => findService(services, service, label) };
    });
  return [...full, ...short];
}
