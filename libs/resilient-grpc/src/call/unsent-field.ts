/** A value that the serializer omits from a message or replaces. */
export type UnsentField = {
  /** Path of the method, such as '/orders.v1.Orders/Create'. */
  readonly path: string;
  /** Name, without the package, of the message type that contains or lacks the field, such as 'CreateOrderRequest'. */
  readonly messageType: string;
  /**
   * Names of the containing fields and the key of the value, joined by dots: 'items.price'. List indexes and map keys are omitted. An empty
   * string if the value was passed in place of the whole message.
   */
  readonly field: string;
} & (
  | {
      /** Field with a similar name. The message type has no field with the given name, so the value is not sent. */
      readonly suggestion: string;
    }
  | {
      /** Reason why the value does not fit the field: 'expected a number, got a string of length 4'. */
      readonly problem: string;
      /**
       * Value that is sent instead: '0', 'NaN', 'true', '"[object Object]"', 'an empty object', 'nothing' if the field is omitted, or 'its
       * properties' if an Observable whose properties match fields was passed as the message.
       */
      readonly sent: string;
    }
);
