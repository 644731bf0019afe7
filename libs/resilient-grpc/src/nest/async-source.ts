import type { InjectionToken, Provider } from '@nestjs/common';
import type { AsyncOptions } from './module-options.js';

/** Method with which a class creates the options of an async source. */
type OptionsMethod = 'createGrpcModuleOptions' | 'createGrpcClientOptions' | 'createGrpcServerOptions';

/** Returns providers that bind the result of an async source to `token`. If the source is a class, `method` creates the options. */
export function asyncSourceProviders<M extends OptionsMethod, T>(
  token: InjectionToken,
  source: AsyncOptions<T, Readonly<Record<M, () => T | Promise<T>>>>,
  method: M,
): Provider[] {
  if (source.useFactory !== undefined) {
    return [{ provide: token, inject: [...(source.inject ?? [])], useFactory: source.useFactory }];
  }
  const provider: Provider = {
    provide: token,
    inject: [source.useClass ?? source.useExisting],
    useFactory: (options: Readonly<Record<M, () => T | Promise<T>>>) => options[method](),
  };
  return source.useClass === undefined
    ? [provider]
    : [{ provide: source.useClass, useClass: source.useClass }, provider];
}
