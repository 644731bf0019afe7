import type { FactoryProvider, InjectionToken, Provider } from '@nestjs/common';
import type { AsyncOptions, OptionsFactory } from './module-options.js';

/** Returns providers that bind the result of an async source to `token`. */
export function asyncSourceProviders<T>(token: InjectionToken, source: AsyncOptions<T>): Provider[] {
  if (source.useFactory !== undefined) {
    return [{ provide: token, inject: [...(source.inject ?? [])], useFactory: source.useFactory }];
  }
  const factory = source.useClass ?? source.useExisting;
  const provider: FactoryProvider = {
    provide: token,
    inject: [factory],
    useFactory: (options: OptionsFactory<T>) => options.createGrpcOptions(),
  };
  return source.useClass === undefined
    ? [provider]
    : [{ provide: source.useClass, useClass: source.useClass }, provider];
}
