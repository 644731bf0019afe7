import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';

/** Both versions of the reflection service. They differ only in their names. */
export const REFLECTION_SERVICES = [
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
] as const;

/** A request to the reflection service. */
export type ReflectionRequest = { readonly listServices: string } | { readonly fileContainingSymbol: string };

/** A response from the reflection service, with one of these properties. After an `errorResponse`, the stream stays open. */
export interface ReflectionResponse {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string };
}

// The part of https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto that the doctor uses. It is defined here
// because the package that contains the file is optional.
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
  ErrorResponse: { fields: { errorCode: { type: 'int32', id: 1 }, errorMessage: { type: 'string', id: 2 } } },
  ListServiceResponse: { fields: { service: { rule: 'repeated', type: 'ServiceResponse', id: 1 } } },
  ServiceResponse: { fields: { name: { type: 'string', id: 1 } } },
};

const METHODS = {
  ServerReflectionInfo: {
    requestType: 'ServerReflectionRequest',
    requestStream: true,
    responseType: 'ServerReflectionResponse',
    responseStream: true,
    // Required by the type.
    comment: '',
  },
};

type Namespace = Parameters<typeof fromJSON>[0];

/** Returns the definitions of the reflection services. */
export function reflectionContract(): PackageDefinition {
  const version: Namespace = { nested: { ServerReflection: { methods: METHODS }, ...MESSAGES } };
  const reflection: Namespace = { nested: { v1: version, v1alpha: version } };
  return fromJSON({ nested: { grpc: { nested: { reflection } } } }, { arrays: true });
}
