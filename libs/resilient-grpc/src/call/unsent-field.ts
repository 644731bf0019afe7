/** A value of a message that the serializer omits or replaces. */
export type UnsentField = {
  /** Path of the method, such as '/orders.v1.Orders/Create'. */
  readonly path: string;
  /** Name of the message type that should have the field, without its package, such as 'CreateOrderRequest'. */
  readonly messageType: string;
  /** Key of the value in the message, after the fields that contain it: 'items.price', without indexes and keys of maps. */
  readonly field: string;
} & (
  | {
      /** Field with a similar name. The message type has no field with the given name, so the value is not sent. */
      readonly suggestion: string;
    }
  | {
      /** Reason why the value does not fit the field: 'expected a number, got a string of 4 characters'. */
      readonly problem: string;
      /** Value that is sent instead: '0', 'NaN', 'true', '"[object Object]"', 'an empty object', or 'nothing' if the field is omitted. */
      readonly sent: string;
    }
);
