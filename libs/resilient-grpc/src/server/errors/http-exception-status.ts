import { Metadata } from '@grpc/grpc-js';
import type { HttpException } from '@nestjs/common';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY } from '../../errors/status-details.js';
import { StatusCode } from '../../status/status-code.js';
import { badRequestDetail, type FieldViolation } from './field-violation.js';
import type { ServerStatus } from './fitting-status.js';
import { codeOfHttpStatus } from './http-status.js';
import { joined, wellFormed } from './status-text.js';
import { ValidationException } from './validation-exception.js';

/** The status that an HttpException stands for; with a `google.rpc.BadRequest` where it lists what is wrong with the request. */
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
 * Nest's ValidationPipe gives a list of texts, in which the path of a field cannot be told from the words of a message; or, by
 * `errorFormat: 'grouped'`, lists by path.
 */
function violationsOf(message: unknown): readonly FieldViolation[] {
  if (isTexts(message)) return message.map((description) => ({ field: '', description }));
  if (!isObject(message)) return [];
  return Object.entries(message).flatMap(([path, texts]) =>
    isTexts(texts) ? texts.map((description) => ({ field: indexed(path), description })) : [],
  );
}

/** 'items.0.quantity' as 'items[0].quantity'; and '...' of what was left out is no path. */
function indexed(path: string): string {
  return path === '...' ? '' : path.replaceAll(/(?:^|\.)(\d+)(?=\.|$)/g, '[$1]');
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
