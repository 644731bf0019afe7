import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, RpcException } from '@nestjs/microservices';
import {
  Metadata,
  status as Code,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import {
  NEVER,
  Subject,
  concat,
  concatMap,
  count,
  delay,
  finalize,
  interval,
  of,
  range,
  map,
  take,
  tap,
  throwError,
  type Observable,
} from 'rxjs';
import type { Note } from './client.js';

type Sent = Partial<Note>;

const broken = () => new RpcException({ code: Code.DATA_LOSS, message: 'broken on request' });

/** Handlers of all method kinds, as in Nest's documentation. The text of a request, or the metadata of a call, selects the behavior. */
@Controller()
export class KindsController {
  /** Number of subscriptions to endless Observables. */
  begun = 0;
  /** Number of 'released', 'endless', and request Observables that have ended for any reason, plus the number of calls to `Forget`. */
  over = 0;
  /** Emits the response to requests with the text 'released'. */
  readonly released = new Subject<Sent>();
  /** The events of the latest request stream. */
  requests: (number | 'completed' | 'failed')[] = [];

  @GrpcMethod('Kinds', 'Unary')
  unary(note: Note, metadata: Metadata, call: ServerUnaryCall<Note, Sent>) {
    const answer: Sent = { text: note.text, number: note.number + 1 };
    switch (note.text) {
      case 'promise':
        return Promise.resolve(answer);
      case 'observable':
        return of(answer).pipe(delay(1));
      case 'promise of an observable':
        return Promise.resolve(of(answer));
      case 'released':
        return this.released.pipe(finalize(() => this.over++));
      case 'nothing':
        return undefined;
      case 'large':
        return { payload: Buffer.alloc(note.number) };
      case 'metadata':
        call.sendMetadata(seen(metadata));
        return { text: [call.getPath(), call.getDeadline() === Infinity, typeof call.getPeer()].join(' ') };
      default:
        return answer;
    }
  }

  @GrpcMethod('Kinds', 'Forget')
  forget(): void {
    this.over++;
  }

  @GrpcMethod('Kinds', 'Watch')
  watch(note: Note, metadata: Metadata, call: { sendMetadata(metadata: Metadata): void }) {
    const counted = range(1, note.number).pipe(map((number): Sent => ({ number, payload: note.payload })));
    switch (note.text) {
      case 'plain':
        return { number: 1 };
      case 'promise':
        return Promise.resolve(counted);
      case 'a turn each':
        return interval(0).pipe(
          take(note.number),
          map((index): Sent => ({ number: index + 1, payload: note.payload })),
        );
      case 'broken':
        return concat(counted, throwError(broken));
      case 'nothing':
        return concat(counted, of(undefined));
      case 'endless':
        return concat(counted, NEVER).pipe(
          tap({ subscribe: () => this.begun++ }),
          finalize(() => this.over++),
        );
      case 'metadata':
        call.sendMetadata(seen(metadata));
        return counted;
      default:
        return counted;
    }
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  collect(notes: Observable<Note>, metadata: Metadata, call: { sendMetadata(metadata: Metadata): void }) {
    if (metadata.get('sent').length > 0) call.sendMetadata(seen(metadata));
    const counted = this.noted(notes).pipe(
      count(),
      map((number): Sent => ({ number })),
    );
    return metadata.get('as').includes('promise') ? Promise.resolve(counted) : counted;
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  chat(notes: Observable<Note>, metadata: Metadata, call: { sendMetadata(metadata: Metadata): void }) {
    if (metadata.get('sent').length > 0) call.sendMetadata(seen(metadata));
    return this.noted(notes).pipe(
      concatMap((note) => {
        if (note.text === 'broken') return throwError(broken);
        return note.text === 'twice' ? [note, note] : [note];
      }),
    );
  }

  private noted(notes: Observable<Note>): Observable<Note> {
    const requests: typeof this.requests = [];
    this.requests = requests;
    return notes.pipe(
      tap({
        next: ({ number }) => requests.push(number),
        complete: () => requests.push('completed'),
        error: () => requests.push('failed'),
      }),
      finalize(() => this.over++),
    );
  }
}

/** Handlers that use grpc-js's call object. */
@Controller()
export class CallsController {
  @GrpcStreamCall('Calls', 'Collect')
  collect(call: ServerReadableStream<Note, Sent>, callback: sendUnaryData<Sent>): void {
    let sum = 0;
    call.on('data', ({ number }: Note) => (sum += number));
    call.on('end', () => {
      const trailers = new Metadata();
      trailers.set('sum', String(sum));
      if (sum < 0) callback({ code: Code.OUT_OF_RANGE, details: 'below zero', metadata: trailers });
      else callback(null, { number: sum }, trailers);
    });
  }

  @GrpcStreamCall('Calls', 'Chat')
  chat(call: ServerDuplexStream<Note, Sent>): void {
    call.sendMetadata(seen(call.metadata));
    call.on('data', ({ text, number }: Note) => call.write({ text, number: number * 2 }));
    call.on('end', () => {
      const trailers = new Metadata();
      trailers.set('said', 'all');
      call.end(trailers);
    });
  }
}

function seen(metadata: Metadata): Metadata {
  const headers = new Metadata();
  headers.set('seen', metadata.get('sent').join());
  for (const value of metadata.get('sent-bin')) headers.add('seen-bin', value);
  return headers;
}
