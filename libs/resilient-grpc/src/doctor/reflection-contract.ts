import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';

/** Both versions of the service; they differ by nothing but their names. */
export const REFLECTION_SERVICES = [
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
] as const;

/** What is asked of the reflection service. */
export type ReflectionRequest = { readonly listServices: string } | { readonly fileContainingSymbol: string };

/** What it answers; `error` is of one symbol, and ends nothing. */
export interface ReflectionResponse {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string };
}

// The part of https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto that is asked here, written down since
// the package that has the file is optional.
const MESSAGES = {
  ServerReflectionRequest: {
    oneofs: { messageRequest: { oneof: ['fileContainingSymbol', 'listServices'] } },
    fields: { fileContainingSymbol: { type: 'string', id: 4 }, listServices: { type: 'string', id: 7 } },
  },
  ServerReflectionResponse: {
    oneofs: { messageResponse: { oneof: ['fileDescriptorResponse', 'listServicesResponse', 'errorResponse'] } },
    fields: {
      fileDescriptorResponse: { type: 'FileDescriptorResponse', id: 4 },
      listServicesResponse: { type: 'ListServiceResponse', id: 6 },
      errorResponse: { type: 'ErrorResponse', id: 7 },
    },
  },
  FileDescriptorResponse: { fields: { fileDescriptorProto: { rule: 'repeated', type: 'bytes', id: 1 } } },
  ListServiceResponse: { fields: { service: { rule: 'repeated', type: 'ServiceResponse', id: 1 } } },
  ServiceResponse: { fields: { name: { type: 'string', id: 1 } } },
  ErrorResponse: { fields: { errorCode: { type: 'int32', id: 1 }, errorMessage: { type: 'string', id: 2 } } },
};

const METHODS = {
  ServerReflectionInfo: {
    requestType: 'ServerReflectionRequest',
    requestStream: true,
    responseType: 'ServerReflectionResponse',
    responseStream: true,
    // The type wants one.
    comment: '',
  },
};

type Namespace = Parameters<typeof fromJSON>[0];

/** The reflection services, for a client. */
export function reflectionContract(): PackageDefinition {
  const version: Namespace = { nested: { ServerReflection: { methods: METHODS }, ...MESSAGES } };
  const reflection: Namespace = { nested: { v1: version, v1alpha: version } };
  return fromJSON({ nested: { grpc: { nested: { reflection } } } }, { arrays: true });
}
