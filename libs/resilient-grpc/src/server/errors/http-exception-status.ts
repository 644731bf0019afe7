import { Metadata } from '@grpc/grpc-js';
import type { HttpException } from '@nestjs/common';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY } from '../../errors/status-details.js';
import { StatusCode } from '../../status/status-code.js';
import { badRequestDetail, type FieldViolation } from './field-violation.js';
import type { ServerStatus } from './truncate-status.js';
import { codeOfHttpStatus } from './http-status.js';
import { joined, wellFormed } from './status-text.js';
import { ValidationException } from './validation-exception.js';

/** Returns the gRPC status for an HttpException, with a `google.rpc.BadRequest` if it lists validation errors. */
export function statusOfHttpException(exception: HttpException): ServerStatus {
  const code = codeOfHttpStatus(exception.getStatus());
  const response: unknown = exception.getResponse();
  const found: unknown = isObject(response) ? response['message'] : response;
  const listed = violationsOf(found);
  const details =
    listed.length > 0
      ? joined(listed.map(({ description }) => description))
      : wellFormed(typeof found === 'string' ? found : exception.message);
  if (code !== StatusCode.INVALID_ARGUMENT || listed.length === 0) return { code, details };
  const violations = exception instanceof ValidationException ? exception.fieldViolations : listed;
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, statusDetailsBin(code, details, [badRequestDetail(violations)]));
  return { code, details, metadata };
}

/**
 * Reads the violations from the response of Nest's ValidationPipe: a list of messages, in which field paths cannot be separated from
 * the text, or, with `errorFormat: 'grouped'`, lists by path.
 */
function violationsOf(message: unknown): readonly FieldViolation[] {
  if (isTexts(message)) return message.map((description) => ({ field: '', description }));
  if (!isObject(message)) return [];
  return Object.entries(message).flatMap(([path, texts]) =>
    isTexts(texts) ? texts.map((description) => ({ field: indexed(path), description })) : [],
  );
}

/** Converts 'items.0.quantity' to 'items[0].quantity', and '...', which marks omitted errors, to an empty path. */
function indexed(path: string): string {
  return path === '...' ? '' : path.replaceAll(/(?:^|\.)(\d+)(?=\.|$)/g, '[$1]');
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
