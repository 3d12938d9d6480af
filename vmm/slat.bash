# bash completion for slat: commands and options are what --help shows, so that there is no second list.
_slat() {
	local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} offer

	if [ "$COMP_CWORD" = 1 ]; then
		offer="$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -nE 's/^  ([a-z]+) .*/\1/p') --help --version"
	elif [[ $word == -* ]]; then
		offer=$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)
	else
		case $last in
		--memory) offer='size= hugepages= hugepage_size= thp= prefault= shared= contiguous= extent_size= mlock= dontdump=' ;;
		--memory-zone) offer='id= size= backing= hugepages= hugepage_size= shared= file= host_numa_node= prefault= reserve= weighted=' ;;
		--numa) offer='guest_numa_id= cpus= memory_zones= distances=' ;;
		--placement) offer='policy= host_numa_node=' ;;
		--latency) offer='100ns' ;;
		--pool) offer='size= taken=' ;;
		--on-fault) offer='end report' ;;
		--guard | --ro) offer= ;;
		--gpa) offer= ;;
		--disk) offer='path= readonly= direct= serial= num_queues= iommu= packed=' ;;
		--net) offer='tap= user tcp= udp= mac= queues= iommu= packed=' ;;
		--console) offer='serial virtio iommu= packed=' ;;
		--rng) offer='on off rate= iommu= packed=' ;;
		--balloon) offer='size= deflate_on_oom= free_page_reporting= statistics= packed=' ;;
		--iommu) offer='on off bypass= packed=' ;;
		--cpus) offer='boot=' ;;
		--format) offer='slat azure-v1 azure-packing-2020 huawei-east-1 minimalloc' ;;
		--host) offer='nodes= cpus= memory= reserve= huge= local= remote=' ;;
		--lifetimes) offer='known unknown' ;;
		--machine) offer='common any' ;;
		--workload) offer='vm tasks spectrum cargo uniform exponential' ;;
		--choose) offer='first best worst global random dot two' ;;
		--node) offer='local pack spread interleave contract first balance' ;;
		--fit) offer='first best worst next buddy segregated scatter' ;;
		--contiguous) offer='require prefer scatter' ;;
		--jobs | --shard) offer= ;;
		--compact) offer='never refused continuous' ;;
		--on-refuse) offer='drop wait' ;;
		--hosts | --from | --count | --seed | --granule | --split-above | --huge-above | --overcommit | --csv-step | --compact-budget | --arrivals | --interval | --life | --size-min | --size-max | --size-mean) offer= ;;
		--trace) offer='exits' ;;
		--sandbox) offer='on off' ;;
		--gdb) offer='tcp: unix:' ;;
		*)
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
			;;
		esac
		compopt -o nospace 2>/dev/null # a value follows
	fi
	mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$word")
}
complete -o bashdefault -F _slat slat
