import type { Controller } from './controller.ts';
import type { Request } from './request.ts';

/** What a log page is asked for, besides its number. */
export interface LogQuestion {
	readonly request: Request;
	/** On the fabric's clock. */
	readonly nowMs: number;
}

/** A log page of one kind of controller: dispatch, Supported Log Pages and LPA show the same rows. */
export interface LogPage<Of extends Controller> {
	readonly name: string;
	readonly lid: number;
	/** May be asked for of one namespace; all others are of the controller or the subsystem. */
	readonly ofNamespace?: boolean;
	/** The page, or the status that refuses. */
	page(controller: Of, question: LogQuestion): Buffer | number;
	/** It was read without RAE. */
	read?(controller: Of): void;
}
