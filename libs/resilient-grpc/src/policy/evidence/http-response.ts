import { HTTP_STATUS } from './grpc-js-texts.js';

/** Remedy for an HTTP response that is not gRPC. */
export const HTTP_RESPONSE_REMEDY =
  'check the routes of the proxy and its connection to the server, or use the gRPC port of the server';

const MAX_CONTENT_TYPE_LENGTH = 80;

/** Describes an HTTP response that is not gRPC. The description begins like the status message of grpc-js. */
export function describeHttpResponse(status: number | undefined, contentType: string | undefined): string {
  const code = status === undefined ? 'an HTTP response' : `HTTP status code ${String(status)}`;
  const type =
    contentType === undefined
      ? 'without a content-type'
      : `with content-type ${contentType.slice(0, MAX_CONTENT_TYPE_LENGTH)}`;
  return `Received ${code} ${type}: a proxy or web server responded instead of the gRPC server`;
}

/** Describes a non-gRPC response on a stream that ended with `details`; returns `undefined` for any other response. */
export function httpResponseOf(details: string, contentType: string | undefined): string | undefined {
  const status = HTTP_STATUS.exec(details)?.[1];
  const isHttp = contentType === undefined ? status !== undefined : !isGrpcContentType(contentType);
  return isHttp ? describeHttpResponse(status === undefined ? undefined : Number(status), contentType) : undefined;
}

/** True if `type` is 'application/grpc', even if '+…', ';…', or a space follows it. 'application/grpc-web' is a different protocol. */
export function isGrpcContentType(type: string): boolean {
  return /^application\/grpc(?:$|[+; ])/i.test(type);
}
