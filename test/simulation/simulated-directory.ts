import type { Temper } from './fate.ts';
import type { AgeRange, Change } from './simulated-inode.ts';
import { SimulatedInode } from './simulated-inode.ts';
import type { Random } from './random.ts';

export type Node = SimulatedDirectory | SimulatedInode;

/** One change of names. A rename is one change of two names: a journalling file system never does half of it. */
export interface EntryChange {
	readonly sequence: number;
	readonly edits: readonly { readonly directory: number; readonly name: string; readonly node: Node | undefined }[];
	durable: boolean;
}

/** What becomes of a disk's changes in a power loss. */
export interface PowerLoss {
	readonly temper: Temper;
	readonly random: Random;
	readonly ages: AgeRange;
	readonly inFlight: ReadonlyMap<SimulatedInode, readonly Change[]>;
	/** Changes of names share a fate over all directories that they touch. */
	readonly survives: Map<EntryChange, boolean>;
}

/** A directory: the entries that a process sees, those on stable storage, and the changes between. */
export class SimulatedDirectory {
	readonly number: number;
	readonly #visible = new Map<string, Node>();
	readonly #durable = new Map<string, Node>();
	#pending: EntryChange[] = [];

	constructor(number: number) {
		this.number = number;
	}

	get(name: string): Node | undefined {
		return this.#visible.get(name);
	}

	get names(): string[] {
		return [...this.#visible.keys()];
	}

	get nodes(): Iterable<Node> {
		return this.#visible.values();
	}

	get unsynced(): number {
		return this.#pending.length;
	}

	apply(change: EntryChange): void {
		for (const edit of change.edits) if (edit.directory === this.number) put(this.#visible, edit.name, edit.node);
		this.#pending.push(change);
	}

	/** The changes that a sync of this directory makes durable. */
	syncable(upToSequence: number): EntryChange[] {
		return this.#pending.filter((change) => change.sequence <= upToSequence && !change.durable);
	}

	/** Takes changes that became durable out of the pending ones. Called for every directory that they touch. */
	settle(): void {
		const rest: EntryChange[] = [];
		for (const change of this.#pending) {
			if (!change.durable) {
				rest.push(change);
				continue;
			}
			for (const edit of change.edits) {
				if (edit.directory !== this.number) continue;
				put(this.#durable, edit.name, edit.node);
				// An older change of this name has been overtaken, durable or not (a rename that another directory's sync made durable).
				for (let index = rest.length - 1; index >= 0; index--) {
					if (rest[index]?.edits.some((older) => older.directory === this.number && older.name === edit.name) === true)
						rest.splice(index, 1);
				}
			}
		}
		this.#pending = rest;
	}

	copy(copies: Map<Node, Node>, changes: Map<EntryChange, EntryChange>): SimulatedDirectory {
		const copy = new SimulatedDirectory(this.number);
		copies.set(this, copy);
		for (const [name, node] of this.#visible) copy.#visible.set(name, copyNode(node, copies, changes));
		for (const [name, node] of this.#durable) copy.#durable.set(name, copyNode(node, copies, changes));
		copy.#pending = this.#pending.map((change) => {
			let copied = changes.get(change);
			if (copied === undefined) {
				const edits = change.edits.map((edit) => ({
					...edit,
					node: edit.node === undefined ? undefined : copyNode(edit.node, copies, changes),
				}));
				copied = { ...change, edits };
				changes.set(change, copied);
			}
			return copied;
		});
		return copy;
	}

	survivor(loss: PowerLoss, survivors: Map<Node, Node>): SimulatedDirectory {
		const survivor = new SimulatedDirectory(this.number);
		survivors.set(this, survivor);
		const entries = new Map(this.#durable);
		for (const change of this.#pending) {
			if (!survives(change, loss, this.number)) continue;
			for (const edit of change.edits) if (edit.directory === this.number) put(entries, edit.name, edit.node);
		}
		for (const [name, node] of entries) {
			let survived = survivors.get(node);
			if (survived === undefined) {
				survived =
					node instanceof SimulatedInode
						? node.survivor(loss.temper, loss.random, loss.ages, loss.inFlight.get(node) ?? [])
						: node.survivor(loss, survivors);
				survivors.set(node, survived);
			}
			survivor.#visible.set(name, survived);
			survivor.#durable.set(name, survived);
		}
		return survivor;
	}

	noteAges(ages: AgeRange): void {
		for (const change of this.#pending) {
			ages.oldest = Math.min(ages.oldest, change.sequence);
			ages.youngest = Math.max(ages.youngest, change.sequence);
		}
		const nodes = new Set([...this.#visible.values(), ...this.#durable.values()]);
		for (const node of nodes) node.noteAges(ages);
	}
}

function survives(change: EntryChange, loss: PowerLoss, directory: number): boolean {
	const known = loss.survives.get(change);
	if (known !== undefined) return known;
	const age = (change.sequence - loss.ages.oldest) / Math.max(1, loss.ages.youngest - loss.ages.oldest);
	const fate = loss.temper.fate(age, directory);
	const survived = fate === 'torn' ? loss.random.chance(0.5) : fate === 'whole';
	loss.survives.set(change, survived);
	return survived;
}

function copyNode(node: Node, copies: Map<Node, Node>, changes: Map<EntryChange, EntryChange>): Node {
	let copy = copies.get(node);
	if (copy === undefined) {
		copy = node instanceof SimulatedInode ? node.copy() : node.copy(copies, changes);
		copies.set(node, copy);
	}
	return copy;
}

function put(entries: Map<string, Node>, name: string, node: Node | undefined): void {
	if (node === undefined) entries.delete(name);
	else entries.set(name, node);
}
