import { archiveDefects } from './archive-defects.ts';

/** A deliberate bug: a textual change of one source file that the simulation must notice. */
export interface Defect {
	/** What the engine does wrong with it. */
	readonly title: string;
	readonly file: string;
	readonly search: string;
	readonly replace: string;
}

/**
 * Each stands for a way in which storage engines have lost data. When the engine changes and `search` is not there any more, the lane says so: then the defect
 * is to be put into the new code, not dropped.
 */
export const defects: readonly Defect[] = [
	{
		title: 'no fsync of the map before the superblock',
		file: 'src/blockvol/flusher.ts',
		search: '		await inTurns(changedLayers(batch), (layer) => layer.map.file.datasync());\n',
		replace: '',
	},
	{
		title: 'no fsync of the data before the map (a map written before its data)',
		file: 'src/blockvol/flusher.ts',
		search: '		await inTurns(new Set(batch.map(({ layer }) => layer)), (layer) => layer.syncData());\n',
		replace: '',
	},
	{
		title: 'no fsync of the log before the layers change',
		file: 'src/blockvol/flusher.ts',
		search: '		await this.#wal.synced();\n',
		replace: '',
	},
	{
		title: 'no fsync of the superblock',
		file: 'src/blockvol/superblock.ts',
		search: '			await this.#file.datasync();\n',
		replace: '',
	},
	{
		title: 'no CRC check of a record header at recovery',
		file: 'src/blockvol/wal-record.ts',
		search: '	if (crc32cOfRange(source, at + 4, at + covered) !== source.readUInt32LE(at)) return undefined;\n',
		replace: '',
	},
	{
		title: 'no CRC check of a record’s pages at recovery',
		file: 'src/blockvol/log-reader.ts',
		search: 'if (header.type === recordType.write && !this.#pagesMatch(tableAt, dataAt, header.pages)) return undefined;',
		replace: '',
	},
	{
		title: 'no CRC check of a page that is read',
		file: 'src/blockvol/reader.ts',
		search: 'return matchingPages(target, this.#checksums, run.pages, at) === run.pages ? length : -1;\n',
		replace: 'return length;\n',
	},
	{
		title: 'no CRC check of what the flusher reads from the log',
		file: 'src/blockvol/flush-batch.ts',
		search: 'return pageChecksum(this.#page(at)) === frozen.checksumOf(this.#entries[at] as number);',
		replace: 'return pageChecksum(this.#page(at)) >= 0 || frozen.checksumOf(this.#entries[at] as number) < 0;',
	},
	{
		title: 'replay across a gap',
		file: 'src/blockvol/replay.ts',
		search: '		if (record === undefined || record.epoch < lowestEpoch) break;\n',
		replace: [
			'		if (record === undefined) {',
			'			const segmentUnits = superblock.geometry.segmentBytes / unitBytes;',
			'			lsn = (Math.floor(lsn / segmentUnits) + 1) * segmentUnits;',
			'			if ((await reader.record(lsn)) === undefined) break;',
			'			continue;',
			'		}',
			'		if (record.epoch < lowestEpoch) break;\n',
		].join('\n'),
	},
	{
		title: 'a stale epoch is replayed',
		file: 'src/blockvol/replay.ts',
		search: [
			'		if (record === undefined || record.epoch < lowestEpoch) break;',
			'		// What an earlier opening cut off stays cut off, though it may look whole again.',
			'		if (lsn >= superblock.tailLSN && record.epoch < superblock.epoch) break;\n',
		].join('\n'),
		replace: '		if (record === undefined) break;\n',
	},
	{
		title: 'a record is believed whatever address it says it has',
		file: 'src/blockvol/wal-record.ts',
		search: 'if (lsn !== expectedLSN) return undefined;',
		replace: '',
	},
	{
		title: 'segments are recycled one early',
		file: 'src/blockvol/wal-segments.ts',
		search: 'if (sequence >= oldest || segment.pins > 0) continue;',
		replace: 'if (sequence > oldest || segment.pins > 0) continue;',
	},
	{
		title: 'the name of a segment is not made durable before its first record',
		file: 'src/blockvol/wal-segments.ts',
		search: '		await this.#disk.syncDirectory(this.#directory);\n		this.#spares.set(',
		replace: '		this.#spares.set(',
	},
	{
		title: 'the name of a slice is not made durable',
		file: 'src/blockvol/layer-names.ts',
		search: '		await this.#disk.syncDirectory(this.#directory);\n',
		replace: '',
	},
	{
		title: 'an fsync error of the log is ignored',
		file: 'src/blockvol/wal-segments.ts',
		search: 'await Promise.all(unsynced.map((segment) => segment.file.datasync()));',
		replace: 'await Promise.allSettled(unsynced.map((segment) => segment.file.datasync()));',
	},
	{
		title: 'an fsync error of the layer is ignored',
		file: 'src/blockvol/layer.ts',
		search: 'await Promise.all(files.map((file) => file.datasync()));',
		replace: 'await Promise.allSettled(files.map((file) => file.datasync()));',
	},
	{
		title: 'a flush is answered without an fsync',
		file: 'src/blockvol/commands.ts',
		search: "queueMicrotask(() => this.#wal.sync({ synced: () => end('good'), syncFailed: () => end('faulted') }));",
		replace: "queueMicrotask(() => end('good'));",
	},
	{
		title: 'FUA is ignored',
		file: 'src/blockvol/commands.ts',
		search: "if (command.fua && command.outcome === 'good' && !command.isDurable) {",
		replace: "if (command.fua && command.outcome === 'good' && !command.isDurable && this.counts.readBytes < 0) {",
	},
	{
		title: 'a write is answered before its bytes are in the kernel',
		file: 'src/blockvol/wal.ts',
		search: '			this.#poolWrite = this.#writeOnPool(batch);\n			return;\n',
		replace: '			void this.#writeOnPool(batch).catch(() => undefined);\n			this.#installed(batch);\n			return;\n',
	},
	{
		title: 'a flush does not sync what direct writes put into the layer',
		file: 'src/blockvol/engine.ts',
		search: '		return Promise.all(this.index.openLayers.filter(({ hasFiles }) => hasFiles).map((layer) => layer.syncData()));\n',
		replace: '		return undefined;\n',
	},
	{
		title: 'replay believes a direct record whose data did not reach the layer',
		file: 'src/blockvol/replay.ts',
		search: 'lsn >= durableLSN && mismatched.some((page) => isNewest(generation, page, lsn))',
		replace: 'lsn < 0 && mismatched.some((page) => isNewest(generation, page, lsn))',
	},
	{
		title: 'the flusher leaves out a page that was written again, though the newer version is not durable',
		file: 'src/blockvol/flusher.ts',
		search: 'if (entry >= 0 && active.locationOf(entry) < durableLSN) return true;',
		replace: 'if (entry >= 0 && durableLSN >= 0) return true;',
	},
	{
		title: 'a partial write does not wait for the old page that is still on its way',
		file: 'src/blockvol/writer.ts',
		search: "if (isPartial && this.#isPending(first, end, headBytes > 0, tailBytes > 0)) return 'noRoom';",
		replace: '',
	},
	{
		title: 'after a failed fsync the log is taken as durable at the next opening',
		file: 'src/blockvol/replay.ts',
		search: '			await rewriteLog(reader, durableLSN, pass.tailLSN, geometry.segmentBytes);\n',
		replace: '',
	},
	{
		title: 'the epoch is not raised at opening',
		file: 'src/blockvol/engine.ts',
		search: 'epoch: replayed.epoch + 1',
		replace: 'epoch: replayed.epoch',
	},
	{
		title: 'the clean stamp stays while the volume is open',
		file: 'src/blockvol/volume-opening.ts',
		search: 'clean: false, ',
		replace: '',
	},
	{
		title: 'a zeroed range does not hide the older pages under it',
		file: 'src/blockvol/page-index.ts',
		search: 'if (zeroedAt > this.location) return found.zero;',
		replace: '',
	},
	{
		title: 'a region is overwritten in place before its mark is durable',
		file: 'src/blockvol/overwriter.ts',
		search: 'this.#owner.writeMarks(this.#marks.regions()).then(',
		replace: 'void this.#owner.writeMarks(this.#marks.regions());\n\t\tPromise.resolve().then(',
	},
	{
		title: 'the superblock of a checkpoint forgets the marks',
		file: 'src/blockvol/flusher.ts',
		search: 'const marks = this.#marks.remaining();',
		replace: 'const marks: number[] = [];',
	},
	{
		title: 'pages whose newest version is in the log are overwritten in place',
		file: 'src/blockvol/overwriter.ts',
		search: ' || this.#index.isInLog(first, end)',
		replace: '',
	},
	{
		title: 'the flusher begins in the middle of a batch that has a snapshot',
		file: 'src/blockvol/snapshots.ts',
		search: '		spans.suspensions--;\n	}\n\n	/** All records',
		replace: '		spans.suspensions--;\n		this.batchInstalled();\n	}\n\n	/** All records',
	},
	{
		title: 'a generation forgets that it has pages in the log',
		file: 'src/blockvol/generation.ts',
		search: 'return this.#length > this.directEntries;',
		replace: 'return false;',
	},
	{
		title: 'a stretch of the page map counts as held when its first page is',
		file: 'src/blockvol/page-map.ts',
		search: 'if (!isChecksum(block.readUInt32LE(offset))) return page;',
		replace: 'if (page === first && !isChecksum(block.readUInt32LE(offset))) return page;',
	},
	{
		title: 'marked regions are not settled at the next opening',
		file: 'src/blockvol/replay.ts',
		search: '		await settle(pass.cuts[0]?.generation ?? pass.generation, layers.base, superblock, durableLSN, mode);\n',
		replace: '',
	},
	{
		title: 'a page of a snapshot is left out because the volume wrote it again',
		file: 'src/blockvol/flusher.ts',
		search: '		if (pending[at]?.snapshot !== undefined) return false;\n',
		replace: '',
	},
	{
		title: 'a generation is flushed into the wrong layer',
		file: 'src/blockvol/flusher.ts',
		search: 'for (const [at, { generation, layer }] of batch.entries()) {\n',
		replace: 'for (const [at, { generation }] of batch.entries()) {\n			const { layer } = this.#index;\n',
	},
	{
		title: 'zero pages over a snapshot are forgotten',
		file: 'src/blockvol/flusher.ts',
		search: '				for (const { start, end } of frozen.zeros) await hideBelow(layer, below, start, end, isLosingLayer);\n',
		replace: '',
	},
	{
		title: 'zeros do not hide what a layer holds that is carried in the same cycle',
		file: 'src/blockvol/flusher.ts',
		search: 'if (snapshot === undefined || at >= lastZeroed) continue;',
		replace: 'if (snapshot === undefined || at >= 0) continue;',
	},
	{
		title: 'of the layers that a cycle completes only the last one’s map is made durable',
		file: 'src/blockvol/flusher.ts',
		search: 'changedLayers(batch), (layer)',
		replace: 'changedLayers([last]), (layer)',
	},
	{
		title: 'of the layers that a cycle completes only the last one’s data is made durable',
		file: 'src/blockvol/flusher.ts',
		search: 'new Set(batch.map(({ layer }) => layer))',
		replace: 'new Set([last.layer])',
	},
	{
		title: 'a large write goes straight to the old layer while the record of a snapshot is on its way',
		file: 'src/blockvol/writer.ts',
		search: 'const isFree = this.#spans.suspensions === 0 && ',
		replace: 'const isFree = ',
	},
	{
		title: 'a snapshot does not wait for writes that go straight to the layer',
		file: 'src/blockvol/snapshots.ts',
		search: 'return this.#parts.spans.isEmpty && ',
		replace: 'return ',
	},
	{
		title: 'no fsync of the tree before the superblock',
		file: 'src/blockvol/tree-file.ts',
		search: '		await file.datasync();\n',
		replace: '',
	},
	{
		title: 'a snapshot is acknowledged before its record is durable',
		file: 'src/blockvol/snapshots.ts',
		search: 'this.#parts.wal.sync({ synced: () => this.#settled.resolve(info), syncFailed: () => this.recordFailed() });',
		replace: 'this.#settled.resolve(info);',
	},
	{
		title: 'a merge drops a page',
		file: 'src/blockvol/merger.ts',
		search: 'const isWanted = entry !== entryAbsent && states[at] === wanted && ',
		replace: 'const isWanted = entry !== entryAbsent && states[at] === wanted && at % 9 !== 8 && ',
	},
	{
		title: 'a merge forgets the zeros of the lower layer',
		file: 'src/blockvol/merger.ts',
		search: '!(entry === entryZero && isBottom);',
		replace: 'entry !== entryZero;',
	},
	{
		title: 'a merge takes what an unflushed record put into the live layer for settled',
		file: 'src/blockvol/merge-target.ts',
		search: 'else if (this.#isUnderWay(page) || this.#isDirect(page)) states[at] = undecided;',
		replace: 'else if (this.#isUnderWay(page) || this.#isDirect(page)) states[at] = hidden;',
	},
	{
		title: 'a merge does not make the upper layer’s map durable before the lower one goes',
		file: 'src/blockvol/merge-target.ts',
		search: '			await writeFully(file, block, blockIndex * blockBytes);\n			await file.datasync();\n',
		replace: '			await writeFully(file, block, blockIndex * blockBytes);\n',
	},
	{
		title: 'a large write goes straight to a page that a merge is copying',
		file: 'src/blockvol/writer.ts',
		search: ' && !this.#index.isMerging(first, end)',
		replace: '',
	},
	{
		title: 'a restore does not keep what was live',
		file: 'src/blockvol/layer-tree.ts',
		search: 'if (kept !== undefined) snapshots.push({ ...kept, layer: this.live });',
		replace: '',
	},
	{
		title: 'a reference count off by one: a layer that one other volume needs counts as nobody else’s',
		file: 'src/blockvol/frozen-layer.ts',
		search: '(file) => file.links())) > 1) return true;',
		replace: '(file) => file.links())) > 2) return true;',
	},
	{
		title: 'a merge goes on as before though a clone was made of its layers',
		file: 'src/blockvol/merger.ts',
		search: 'if (this.#stopped || clones !== this.#parts.layers.clones) throw new Aborted();',
		replace: 'if (this.#stopped) throw new Aborted();',
	},
	{
		title: 'a merge believes what a killed one left in the kernel only',
		file: 'src/blockvol/merger.ts',
		search: 'return this.#target(due, this.#upper(due)).settle();',
		replace: 'return Promise.resolve();',
	},
	{
		title: 'the names of a clone’s layers are not made durable',
		file: 'src/blockvol/clone.ts',
		search: '	await disk.syncDirectory(paths.layers);\n',
		replace: '',
	},
	{
		title: 'what sanitizing has overwritten is given back before it is durable',
		file: 'src/blockvol/sanitize.ts',
		search: '			}\n			await file.datasync();\n		});\n	}\n\n	/** The live layer',
		replace: '			}\n		});\n	}\n\n	/** The live layer',
	},
	{
		title: 'a volume that is being sanitized is opened',
		file: 'src/blockvol/volume-opening.ts',
		search: 'if (current.sanitize !== undefined) throw new SanitizeUnfinished(current.sanitize);',
		replace: '',
	},
	{
		title: 'a rewind shows what was written in the millisecond that it goes back to',
		file: 'src/blockvol/rewinder.ts',
		search: 'recordMs >= moment.timeMs',
		replace: 'recordMs > moment.timeMs',
	},
	{
		title: 'a restore makes no anchor of the history',
		file: 'src/blockvol/restorer.ts',
		search: 'const wanted = this.#owner.anchor();',
		replace: "const wanted = undefined as ReturnType<RestorerOwner['anchor']>;",
	},
	{
		title: 'large writes go around the log while a history is kept',
		file: 'src/blockvol/timeline.ts',
		search: '		// Large writes would change the layer and leave the log nothing to bring back.\n		spans.suspensions++;\n',
		replace: '',
	},
	{
		title: 'a rewind forgets the zeros over what its anchor holds',
		file: 'src/blockvol/rewinder.ts',
		search: '		await hideBelow(layer, below, start, end);\n',
		replace: '',
	},
	{
		title: 'a rewind reads past the next anchor',
		file: 'src/blockvol/timeline.ts',
		search: 'endLSN: next?.lsn ?? wal.installedLSN',
		replace: 'endLSN: wal.installedLSN',
	},
	{
		title: 'what a rewind has put together is named before it is durable',
		file: 'src/blockvol/rewinder.ts',
		search: '		await layer.makeMap();\n		await layer.syncData();\n		await layer.map.file.datasync();\n',
		replace: '',
	},
	{
		title: 'after a restore the times of records count from the anchor before it',
		file: 'src/blockvol/engine.ts',
		search: '		this.timeline.restored();\n',
		replace: '',
	},
	{
		title: 'the log of an anchor that stays is given up with the one that goes',
		file: 'src/blockvol/timeline.ts',
		search: 'await this.#holdFrom((anchors[kept] as SnapshotInfo).lsn);',
		replace: 'await this.#holdFrom((anchors.at(-1) as SnapshotInfo).lsn);',
	},
	{
		title: 'zeros over a snapshot rely on those of a layer that a merge is taking away',
		file: 'src/blockvol/hide.ts',
		search: '(entry !== entryZero || isMerging)',
		replace: 'entry !== entryZero',
	},
	{
		title: 'a clean stop does not wait for the removal of the tree before the last one',
		file: 'src/blockvol/tree-file.ts',
		search: '	async syncRemoved(): Promise<void> {\n		await this.#line.run(async () => {\n			if (!this.#hasRemoved) return;',
		replace:
			'	async syncRemoved(): Promise<void> {\n		await ((work: () => Promise<void>) => work())(async () => {\n			if (!this.#hasRemoved) return;',
	},
	{
		title: 'a diff reads layers of which a merge has asked before who holds them',
		file: 'src/blockvol/history.ts',
		search: 'return exclusive.run(() => {\n			const tree = layers.tree.current;',
		replace:
			'return ((run: () => Promise<Held>) => (exclusive === undefined ? Promise.reject(new Error()) : run()))(() => {\n			const tree = layers.tree.current;',
	},
	{
		title: 'a quota does not count what is on its way to the log',
		file: 'src/blockvol/engine.ts',
		search: '		while (this.wal.installedLSN < tailLSN) {\n',
		replace: '		while (this.wal.installedLSN < 0) {\n',
	},
	{
		title: 'a map tells of fetched pages whose data is not durable',
		file: 'src/blockvol/remote-store.ts',
		search: '		for (const handle of written) await layer.pool.use(handle, (file) => file.datasync());\n',
		replace: '',
	},
	{
		title: 'the name of a slice that holds fetched pages is not made durable',
		file: 'src/blockvol/remote-store.ts',
		search: '			await disk.syncDirectory(directory);\n',
		replace: '',
	},
	{
		title: 'a page that has to be fetched reads as zeros',
		file: 'src/blockvol/page-index.ts',
		search: 'if (entry === notFetched) return found.remote;',
		replace: 'if (entry === notFetched) return found.zero;',
	},
	{
		title: 'zeros do not hide pages that have to be fetched',
		file: 'src/blockvol/hide.ts',
		search: 'if (entry !== entryAbsent && (',
		replace: 'if (entry > entryAbsent && (',
	},
	...archiveDefects,
];
