import type { UnsentField } from '../../call/unsent-field.js';
import { LogLine, type LogFields } from './log-line.js';
import { oneLine } from './log-text.js';

/** Builds the warning about a value of a request or response that the serializer omits or replaces. */
export function unsentFieldLine(event: UnsentField, message: 'request' | 'response', fields: LogFields = {}): LogLine {
  const { path, messageType, field } = event;
  const common = { ...fields, event: 'unsent-field', path, field, messageType };
  if ('suggestion' in event) {
    const { suggestion } = event;
    const key = field.slice(field.lastIndexOf('.') + 1);
    const isSnakeCase = key.includes('_') && !suggestion.includes('_');
    const alternative = isSnakeCase ? ' To use the names of the .proto file, set loader: { keepCase: true }' : '';
    const text =
      `${path}: the ${message} contains '${field}', but ${messageType} has no such field, so the value is not sent; ` +
      `did you mean '${suggestion}'?${alternative}`;
    return new LogLine('warn', text, { ...common, suggestion });
  }
  const { sent } = event;
  const problem = oneLine(event.problem);
  const subject = field === '' ? `the ${message}` : `field '${field}' of the ${message}`;
  const text = `${path}: ${subject} (${messageType}): ${problem}; the serializer sends ${sent} instead`;
  return new LogLine('warn', text, { ...common, problem, sent });
}
