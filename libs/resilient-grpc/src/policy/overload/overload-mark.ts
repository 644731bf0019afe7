/** Trailer that marks an overload refusal: the server refused the call before the handler ran. */
export const OVERLOAD_KEY = 'x-overloaded';

/** Value of {@link OVERLOAD_KEY}. */
export const OVERLOAD_VALUE = 'true';
