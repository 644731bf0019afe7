// #region all
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import type { Observable } from 'rxjs';

/** Interface of a generated service, for `Resilient`. */
export type ClientOf<Service> =
  Service extends GenService<infer Methods> ? { [Name in keyof Methods]: MethodOf<Methods[Name]> } : never;

type MethodOf<Method> = Method extends {
  methodKind: infer Kind;
  input: infer Input extends DescMessage;
  output: infer Output extends DescMessage;
}
  ? Kind extends 'unary' | 'server_streaming'
    ? (request: MessageInitShape<Input>) => Observable<MessageShape<Output>>
    : (requests: Observable<MessageInitShape<Input>>) => Observable<MessageShape<Output>>
  : never;

/** Contract of a generated service, for `packageDefinition`. */
export function contractOf(service: GenService<GenServiceMethods>): PackageDefinition {
  const methods = service.methods.map((method) => {
    const { input, output, methodKind, idempotency } = method;
    const definition = {
      path: `/${service.typeName}/${method.name}`,
      originalName: method.localName,
      requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
      responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
      requestSerialize: (message: Record<string, unknown>) => Buffer.from(toBinary(input, create(input, message))),
      requestDeserialize: (bytes: Uint8Array) => fromBinary(input, bytes),
      responseSerialize: (message: Record<string, unknown>) => Buffer.from(toBinary(output, create(output, message))),
      responseDeserialize: (bytes: Uint8Array) => fromBinary(output, bytes),
      options: { idempotency_level: ['IDEMPOTENCY_UNKNOWN', 'NO_SIDE_EFFECTS', 'IDEMPOTENT'][idempotency] },
    };
    return [method.name, definition] as const;
  });
  // proto-loader's type also has descriptors of the messages, which a client does not need.
  return { [service.typeName]: Object.fromEntries(methods) as object as ServiceDefinition };
}
// #endregion
