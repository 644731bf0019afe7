import type { Metadata, StatusObject } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';

/** Receives the events of a call on one connection. */
export interface ConnectionCallListener {
  onReceiveMetadata(headers: Metadata): void;
  /** Receives one message with its header of five bytes. */
  onReceiveMessage(framed: Buffer): void;
  onReceiveStatus(status: StatusObject): void;
}

/** grpc-js's call on one connection. */
export interface ConnectionCall {
  cancelWithStatus(code: number, details: string): void;
  getPeer(): string;
  getAuthContext(): Attempt['authContext'];
  sendMessageWithContext(context: { callback?: () => void }, framed: Buffer): void;
  startRead(): void;
  halfClose(): void;
}
