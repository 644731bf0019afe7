import { describe, expect, it } from 'vitest';
import { unsentFieldLine } from './unsent-field-line.js';

const event = { path: '/orders.v1.Orders/Create', messageType: 'Order', field: 'request_id' };

describe('unsentFieldLine', () => {
  it.each([
    ['request_id', 'requestId', true],
    ['requestID', 'requestId', false],
    ['my_lines.requestID', 'requestId', false],
    ['lines.request_id', 'requestId', true],
    ['requestId', 'request_id', false],
    ['reqest_id', 'request_id', false],
  ])(
    'corrects the field name %s to %s, and suggests keepCase only for a snake-case name of a camel-case field (%s)',
    (field, suggestion, suggestsKeepCase) => {
      const text = String(unsentFieldLine({ ...event, field, suggestion }, 'request'));
      expect(text).toContain(`did you mean '${suggestion}'?`);
      expect(text.includes('keepCase')).toBe(suggestsKeepCase);
    },
  );

  it('names the message instead of a field if another value was passed in place of the message', () => {
    const problem = "expected an object with 'id', got a Promise; await it first";
    expect(String(unsentFieldLine({ ...event, field: '', problem, sent: 'an empty object' }, 'request'))).toBe(
      `/orders.v1.Orders/Create: the request (Order): ${problem}; the serializer sends an empty object instead`,
    );
  });

  it('writes the unsent-field warning on one line, even for a multi-line problem, with the client and the event data as fields', () => {
    const line = unsentFieldLine({ ...event, problem: 'expected a\nnumber', sent: '0' }, 'response', {
      client: 'orders',
    });
    expect(String(line)).not.toContain('\n');
    expect(line.level).toBe('warn');
    expect(line.fields).toMatchObject({
      client: 'orders',
      event: 'unsent-field',
      path: event.path,
      field: 'request_id',
      messageType: 'Order',
      sent: '0',
    });
  });
});
