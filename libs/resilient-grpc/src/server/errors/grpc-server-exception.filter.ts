import {
  Catch,
  ForbiddenException,
  HttpException,
  Injectable,
  Optional,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { BaseRpcExceptionFilter, RpcException } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import { serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { statusOfHttpException } from './http-exception-status.js';

/** Text of the RpcException that Nest throws in a gRPC handler if a guard returns false; in an HTTP handler, it is a ForbiddenException. */
const FORBIDDEN = 'Forbidden resource';

/** Matches only that exception, so that other filters get the other RpcExceptions. */
class ForbiddenCall extends RpcException {
  static override [Symbol.hasInstance](thrown: unknown): boolean {
    return thrown instanceof RpcException && thrown.getError() === FORBIDDEN;
  }
}

/**
 * Maps an HttpException of a gRPC handler, and a guard that returns false, to the matching gRPC status; Nest's own filter maps both to
 * UNKNOWN. Register it with `{ provide: APP_FILTER, useClass: GrpcServerExceptionFilter }`, or with `@UseFilters` on a controller. Exceptions
 * of HTTP handlers and of other microservices in a hybrid application get Nest's default handling.
 */
@Injectable()
@Catch(HttpException, ForbiddenCall)
export class GrpcServerExceptionFilter implements ExceptionFilter<HttpException | RpcException> {
  private readonly rpc = new BaseRpcExceptionFilter<HttpException | RpcException>();

  /**
   * Pass `adapters` only if you create the filter yourself in a hybrid application:
   * `app.useGlobalFilters(new GrpcServerExceptionFilter(app.get(HttpAdapterHost)))`.
   */
  constructor(@Optional() private readonly adapters?: HttpAdapterHost) {}

  catch(thrown: HttpException | RpcException, host: ArgumentsHost): unknown {
    const kind = host.getType<string>();
    if (kind === 'rpc') {
      if (serverCallOf(host.getArgs()) === undefined) return this.rpc.catch(thrown, host);
      const exception = thrown instanceof HttpException ? thrown : new ForbiddenException(FORBIDDEN);
      const { code, details, metadata } = statusOfHttpException(exception);
      return throwError(() => ({ code, details, message: details, ...(metadata && { metadata }) }));
    }
    // Nest's own filter handles the exception, because an exception thrown by this filter would bypass Nest and reach the underlying
    // framework.
    if (kind === 'http' && this.adapters !== undefined) {
      new BaseExceptionFilter(this.adapters.httpAdapter).catch(thrown, host);
      return undefined;
    }
    throw thrown;
  }
}
