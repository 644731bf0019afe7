import { Catch, Inject, Injectable, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { throwError } from 'rxjs';
import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object } from '../../policy/options/option-schemas.js';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { ResumeError } from '../../errors/stream-errors.js';
import { STATUS_NAMES, StatusCode, type StatusName } from '../../status/status-code.js';
import { serverCallOf } from '../inbound/grpc-inbound-call.js';
import { callErrorOf, isCallerCancellation, isFromServer, toHttpException } from './to-http-exception.js';
import { FailureLog, nestDefaultHandling } from './failure-log.js';
import { toMetadata } from '../../channel/wire/metadata-input.js';
import { RETRY_INFO, typeNameOf, STATUS_DETAILS_KEY, type StatusDetail } from '../../errors/status-details.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';

export interface GrpcToRpcOptions {
  /**
   * Upstream status codes that are forwarded to callers of this service, with message and details; for example, 'NOT_FOUND' if this service
   * exposes resources of an upstream. For INTERNAL, UNKNOWN, and DATA_LOSS, and for a status that the upstream's application did not send,
   * the code is forwarded without message and details.
   * @defaultValue []
   */
  readonly relay?: readonly Exclude<StatusName, 'OK'>[] | undefined;
}

const NAMES = STATUS_NAMES.filter((name) => name !== 'OK');

const optionsSchema = object({ relay: v.optional(v.array(v.picklist(NAMES))) });

/**
 * Maps the failure of a call to the status that the caller of a microservice receives, over gRPC or another transport. Register it with
 * `{ provide: APP_FILTER, useFactory: () => new GrpcToRpcExceptionFilter({ relay: ['NOT_FOUND'] }) }`, or `@UseFilters` on a controller.
 * Outside microservices, Nest's default handling applies. Over HTTP, a filter that was created with `new` throws the exception from
 * `toHttpException` instead.
 */
@Injectable()
@Catch(GrpcCallError, ResumeError)
export class GrpcToRpcExceptionFilter implements ExceptionFilter<GrpcCallError> {
  private readonly log = new FailureLog();
  private readonly relay: ReadonlySet<StatusName>;
  @Optional() @Inject(HttpAdapterHost) private readonly adapters: HttpAdapterHost | undefined;

  /** @throws GrpcConfigurationError if the options are invalid */
  constructor(@Optional() options: GrpcToRpcOptions = {}) {
    requireOptions(optionsSchema, options, 'GrpcToRpcExceptionFilter');
    this.relay = new Set(options.relay);
  }

  catch(exception: GrpcCallError | ResumeError, host: ArgumentsHost): unknown {
    const error = callErrorOf(exception);
    const kind = host.getType<string>();
    if (kind === 'http') {
      const httpAdapter = this.adapters?.httpAdapter;
      // The filter was created manually, without an adapter. The HTTP framework might expose the thrown exception to the caller, so an
      // HttpException without internal details is thrown instead of the error of the call.
      if (httpAdapter === undefined) throw error === undefined ? exception : toHttpException(error);
      new BaseExceptionFilter(httpAdapter).catch(exception, host);
      return undefined;
    }
    if (kind !== 'rpc' || error === undefined) return nestDefaultHandling(exception, host);
    const { codeName, isRelayed, isFault, details, retryAfterMs, metadata } = rpcStatusOf(error, this.relay);
    if (!isRelayed) this.log.log(error, codeName, isFault);
    const status =
      serverCallOf(host.getArgs()) === undefined
        ? { status: 'error', code: codeName, message: details, ...(retryAfterMs !== undefined && { retryAfterMs }) }
        : { code: StatusCode[codeName], details, message: details, metadata };
    return throwError(() => status);
  }
}

const DEBUG_INFO = 'google.rpc.DebugInfo';
/**
 * Maximum size in bytes of the status details, which include the message; 4,096 in base64. With the other trailers, they stay below 8 KiB,
 * the usual limit for gRPC metadata.
 */
const MAX_DETAILS_BYTES = 3_072;
/** Maximum size of a relayed message in bytes, percent-encoded as in its trailer. Limited for the same reason as the details. */
const MAX_MESSAGE_BYTES = 2_048;

/** Codes of faults. The message and details of such a status are never forwarded, even if `relay` lists the code. */
const FAULT_CODES: ReadonlySet<StatusName> = new Set(['INTERNAL', 'UNKNOWN', 'DATA_LOSS']);
/** Codes that also apply to this service if they apply to a service that it calls: unavailable, out of time, or overloaded. */
const PASS_THROUGH_CODES: ReadonlySet<StatusName> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED']);

/**
 * Returns the status that the caller receives for a failed upstream call. The upstream's status is relayed if `relay` lists its code. For a
 * fault, and for a status that the upstream's application did not send, the code is relayed without its message or details. UNAVAILABLE,
 * DEADLINE_EXCEEDED, and RESOURCE_EXHAUSTED are unchanged even if `relay` does not list them, because they apply to this service, too.
 * CANCELLED is also unchanged if the call was cancelled on this side. For all other codes, the caller receives INTERNAL, because such a
 * code, for example NOT_FOUND or UNAUTHENTICATED, describes this service's request to the upstream, not the caller's request to this
 * service.
 */
export function rpcStatusOf(error: GrpcCallError, relay: ReadonlySet<StatusName>) {
  const { retryAfterMs } = error;
  const codeName = codeFor(error, relay);
  // The status comes from the upstream's application and is not a fault.
  const isRelayed = relay.has(error.codeName) && isFromServer(error) && !FAULT_CODES.has(codeName);
  const isExposed = isRelayed && error.details !== '';
  const details = isExposed ? truncateText(error.details) : `A call to another server failed: ${codeName}`;
  // The failure must be fixed, here or upstream.
  const isFault = codeName !== error.codeName || FAULT_CODES.has(codeName);
  // The retry delay is forwarded only if the caller receives the upstream's code and this code is not the code of a fault.
  const again = isFault ? undefined : retryAfterMs;
  const pushback = !isFault && error.reason === 'server' ? pushbackOf(error) : undefined;
  const relayed = isExposed ? error.statusDetails.filter(isForCallers) : [];
  return {
    codeName,
    isRelayed,
    isFault,
    details,
    retryAfterMs: again,
    metadata: toMetadata({
      [PUSHBACK_KEY]: pushback,
      [STATUS_DETAILS_KEY]: statusBin(codeName, details, relayed, again),
    }),
  };
}

function codeFor(error: GrpcCallError, relay: ReadonlySet<StatusName>): StatusName {
  const { codeName } = error;
  return relay.has(codeName) || PASS_THROUGH_CODES.has(codeName) || isCallerCancellation(error) ? codeName : 'INTERNAL';
}

/** True if callers may receive the detail. False for stack traces, and for the retry delay, which `statusBin` adds. */
function isForCallers({ typeUrl }: StatusDetail): boolean {
  const name = typeNameOf(typeUrl);
  return name !== DEBUG_INFO && name !== RETRY_INFO;
}

function statusBin(
  codeName: StatusName,
  details: string,
  relayed: readonly StatusDetail[],
  retryAfterMs: number | undefined,
): Buffer | undefined {
  const again = retryAfterMs === undefined ? [] : [{ typeUrl: RETRY_INFO, value: { retryDelayMs: retryAfterMs } }];
  for (const all of [[...relayed, ...again], again]) {
    if (all.length === 0) return undefined;
    try {
      const encoded = statusDetailsBin(StatusCode[codeName], details, all);
      if (encoded.length <= MAX_DETAILS_BYTES) return encoded;
    } catch {
      // The upstream sent a detail or a delay that cannot be encoded. `all` is skipped, because an error that a filter throws would end the
      // process.
    }
  }
  return undefined;
}

/** Returns the upstream's pushback trailer if its value is a single integer; gRPC defines no other value. */
function pushbackOf({ metadata }: GrpcCallError): string | undefined {
  const [value, ...more] = metadata.get(PUSHBACK_KEY);
  return more.length === 0 && typeof value === 'string' && /^-?\d{1,10}$/.test(value) ? value : undefined;
}

function truncateText(text: string): string {
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    // Replaces an unpaired surrogate, because `encodeURI` throws on it, both here and when grpc-js writes the status.
    const whole = character.replace(/\p{Surrogate}/u, '\ufffd');
    bytes += encodeURI(whole).length;
    if (bytes > MAX_MESSAGE_BYTES) return `${kept}...`;
    kept += whole;
  }
  return kept;
}
