// SPDX-License-Identifier: Apache-2.0

// Made by `scripts/saslprep-tables NormalFormTables`. Numbers are in base 36.

/// The normal forms of the characters of Unicode 3.2.
///
/// Text, so that they lie in the program's file and cost memory only while they are read.
enum NormalFormTables {
    /// What a code is in form NFKD: see `NormalForm`.
    static let decompositions: StaticString =
        """
        8w 1 w f 2 w lk 2 1 2p 9 2 w lg 4 2 1e 1 2 w ld 0 1 qk 5 2 w mf 0 1 1d 0 1 33 3 3 1d 6dg \
        1g 1 3 1d 6dg 1e 1 3 1f 6dg 1g 3 2 1t lc 1 2 1t ld 1 2 1t le 1 2 1t lf 1 2 1t lk 1 2 1t \
        lm 3 2 1v mf 1 2 1x lc 1 2 1x ld 1 2 1x le 1 2 1x lk 1 2 21 lc 1 2 21 ld 1 2 21 le 1 2 \
        21 lk 3 2 26 lf 1 2 27 lc 1 2 27 ld 1 2 27 le 1 2 27 lf 1 2 27 lk 5 2 2d lc 1 2 2d ld 1 \
        2 2d le 1 2 2d lk 1 2 2h ld 5 2 2p lc 1 2 2p ld 1 2 2p le 1 2 2p lf 1 2 2p lk 1 2 2p lm \
        3 2 2r mf 1 2 2t lc 1 2 2t ld 1 2 2t le 1 2 2t lk 1 2 2x lc 1 2 2x ld 1 2 2x le 1 2 2x \
        lk 3 2 32 lf 1 2 33 lc 1 2 33 ld 1 2 33 le 1 2 33 lf 1 2 33 lk 5 2 39 lc 1 2 39 ld 1 2 \
        39 le 1 2 39 lk 1 2 3d ld 3 2 3d lk 1 2 1t lg 1 2 2p lg 1 2 1t li 1 2 2p li 1 2 1t mg 1 \
        2 2p mg 1 2 1v ld 1 2 2r ld 1 2 1v le 1 2 2r le 1 2 1v lj 1 2 2r lj 1 2 1v lo 1 2 2r lo \
        1 2 1w lo 1 2 2s lo 5 2 1x lg 1 2 2t lg 1 2 1x li 1 2 2t li 1 2 1x lj 1 2 2t lj 1 2 1x \
        mg 1 2 2t mg 1 2 1x lo 1 2 2t lo 1 2 1z le 1 2 2v le 1 2 1z li 1 2 2v li 1 2 1z lj 1 2 \
        2v lj 1 2 1z mf 1 2 2v mf 1 2 20 le 1 2 2w le 5 2 21 lf 1 2 2x lf 1 2 21 lg 1 2 2x lg 1 \
        2 21 li 1 2 2x li 1 2 21 mg 1 2 2x mg 1 2 21 lj 3 2 21 22 1 2 2x 2y 1 2 22 le 1 2 2y le \
        1 2 23 mf 1 2 2z mf 3 2 24 ld 1 2 30 ld 1 2 24 mf 1 2 30 mf 1 2 24 lo 1 2 30 lo 1 2 24 \
        53 1 2 30 53 5 2 26 ld 1 2 32 ld 1 2 26 mf 1 2 32 mf 1 2 26 lo 1 2 32 lo 1 2 jg 32 5 2 \
        27 lg 1 2 33 lg 1 2 27 li 1 2 33 li 1 2 27 ln 1 2 33 ln 5 2 2a ld 1 2 36 ld 1 2 2a mf 1 \
        2 36 mf 1 2 2a lo 1 2 36 lo 1 2 2b ld 1 2 37 ld 1 2 2b le 1 2 37 le 1 2 2b mf 1 2 37 mf \
        1 2 2b lo 1 2 37 lo 1 2 2c mf 1 2 38 mf 1 2 2c lo 1 2 38 lo 5 2 2d lf 1 2 39 lf 1 2 2d \
        lg 1 2 39 lg 1 2 2d li 1 2 39 li 1 2 2d lm 1 2 39 lm 1 2 2d ln 1 2 39 ln 1 2 2d mg 1 2 \
        39 mg 1 2 2f le 1 2 3b le 1 2 2h le 1 2 3d le 1 2 2h lk 1 2 2i ld 1 2 3e ld 1 2 2i lj 1 \
        2 3e lj 1 2 2i lo 1 2 3e lo 0 1 37 1t 2 27 m3 1 2 33 m3 r 2 2d m3 1 2 39 m3 13 3 1w 2i \
        lo 1 3 1w 3e lo 1 3 2s 3e lo 1 2 24 22 1 2 24 2y 1 2 30 2y 1 2 26 22 1 2 26 2y 1 2 32 2y \
        1 2 1t lo 1 2 2p lo 1 2 21 lo 1 2 2x lo 1 2 27 lo 1 2 33 lo 1 2 2d lo 1 2 39 lo 1 3 2d \
        lk lg 1 3 39 lk lg 1 3 2d lk ld 1 3 39 lk ld 1 3 2d lk lo 1 3 39 lk lo 1 3 2d lk lc 1 3 \
        39 lk lc 3 3 1t lk lg 1 3 2p lk lg 1 3 1t lj lg 1 3 2p lj lg 1 2 5i lg 1 2 6e lg 5 2 1z \
        lo 1 2 2v lo 1 2 23 lo 1 2 2z lo 1 2 27 mg 1 2 33 mg 1 3 27 mg lg 1 3 33 mg lg 1 2 c7 lo \
        1 2 ia lo 1 2 2y lo 1 2 1w 2i 1 2 1w 3e 1 2 2s 3e 1 2 1z ld 1 2 2v ld 5 2 26 lc 1 2 32 \
        lc 1 3 1t lm ld 1 3 2p lm ld 1 2 5i ld 1 2 6e ld 1 2 60 ld 1 2 6w ld 1 2 1t lr 1 2 2p lr \
        1 2 1t lt 1 2 2p lt 1 2 1x lr 1 2 2t lr 1 2 1x lt 1 2 2t lt 1 2 21 lr 1 2 2x lr 1 2 21 \
        lt 1 2 2x lt 1 2 27 lr 1 2 33 lr 1 2 27 lt 1 2 33 lt 1 2 2a lr 1 2 36 lr 1 2 2a lt 1 2 \
        36 lt 1 2 2d lr 1 2 39 lr 1 2 2d lt 1 2 39 lt 1 2 2b me 1 2 37 me 1 2 2c me 1 2 38 me 5 \
        2 20 lo 1 2 2w lo d 2 1t lj 1 2 2p lj 1 2 1x mf 1 2 2t mf 1 3 27 lk lg 1 3 33 lk lg 1 3 \
        27 lf lg 1 3 33 lf lg 1 2 27 lj 1 2 33 lj 1 3 27 lj lg 1 3 33 lj lg 1 2 2h lg 1 2 3d lg \
        6w 1 2w 0 1 h2 0 1 2y 0 1 36 0 1 hl 0 1 hn 0 1 ht 0 1 3b 0 1 3d 1r 2 w li 1 2 w lj 1 2 w \
        lm 1 2 w mg 1 2 w lf 1 2 w ln 4 1 gz 0 1 30 0 1 37 0 1 3c 0 1 id 52 2 lc 2 1 lv 1 2 lk \
        ld 2m 1 jd b 2 w n9 6 1 1n b 2 w ld 1 3 w lk ld 1 2 pd ld 0 1 53 1 2 ph ld 1 2 pj ld 1 2 \
        pl ld 3 2 pr ld 3 2 px ld 1 2 q1 ld 1 3 qh lk ld 1f 2 pl lk 1 2 px lk 1 2 q9 ld 1 2 qd \
        ld 1 2 qf ld 1 2 qh ld 1 3 qt lk ld 1f 2 qh lk 1 2 qt lk 1 2 qn ld 1 2 qt ld 1 2 qx ld 2 \
        1 qa 0 1 qg 0 1 px 1 2 px ld 1 2 px lk 0 1 qu 0 1 qo 1e 1 qi 0 2 qp 2 1 pk 0 1 qd l 2 t1 \
        lc 1 2 t1 lk 3 2 sz ld 7 2 sm lk 9 2 t6 ld 1 2 t4 lc 1 2 tf li l 2 t4 li 1r 2 u0 li 19 2 \
        tx lc 1 2 tx lk 3 2 tv ld 7 2 uu lk 9 2 u2 ld 1 2 u0 lc 1 2 ub li 1b 2 vo lr 1 2 vp lr \
        43 2 t2 li 1 2 ty li r 2 sw li 1 2 ts li 1 2 sw lk 1 2 ts lk 5 2 t1 li 1 2 tx li 5 2 yg \
        lk 1 2 yh lk 1 2 t2 lk 1 2 ty lk 1 2 t3 lk 1 2 tz lk 5 2 t4 lg 1 2 u0 lg 1 2 t4 lk 1 2 \
        u0 lk 1 2 ta lk 1 2 u6 lk 5 2 yw lk 1 2 yx lk 1 2 tp lk 1 2 ul lk 1 2 tf lg 1 2 ub lg 1 \
        2 tf lk 1 2 ub lk 1 2 tf ln 1 2 ub ln 1 2 tj lk 1 2 uf lk 5 2 tn lk 1 2 uj lk 7v 2 12d \
        136 8l 2 17r 18z 1 2 17r 190 1 2 18o 190 1 2 17r 191 1 2 18q 190 4d 2 17r 19w 1 2 18o \
        19w 1 2 1c7 19w 1 2 18q 19w 3z 2 1cl 190 3 2 1c1 190 x 2 1ci 190 x7 2 1t4 1to f 2 1tc \
        1to 5 2 1tf 1to 1z 2 1sl 1to 1 2 1sm 1to 1 2 1sn 1to 1 2 1ss 1to 1 2 1sx 1to 1 2 1sy 1to \
        1 2 1t7 1to 1 2 1tb 1to 5z 2 1xj 1xa 1 2 1xj 1xz v 2 1wh 1x8 1 2 1wi 1x8 3 2 1wv 1x8 4n \
        2 20i 20s 5 2 20o 20s 1x 2 1zq 20s 1 2 1zr 20s 1 2 1zw 20s 5 2 20b 20s cz 2 287 28m 5 2 \
        287 27y 1 2 287 28n v 2 275 27w 1 2 276 27w 31 2 2aa 2c7 2z 2 2bq 2bi 1 2 2br 2bi 1 2 \
        2bq 2c7 6v 2 2fa 2fq 6n 2 2in 2j9 d 2 2iu 2j9 1 2 2iu 2ja 3 2 2iu 2iq 1 3 2iu 2iq 2j9 71 \
        2 2me 2m6 1 2 2mf 2m6 1 2 2me 2mv 7v 2 2qh 2q2 3 2 2qh 2q7 1 3 2qh 2q7 2q2 1 2 2qh 2qn \
        4p 2 2tp 2sy 73 2 2x9 2wi 29 2 2wb 2vt 1 2 2wb 2w1 2k 1 2yz 31 2 30i 33r j 2 30s 33r 9 2 \
        30x 33r 9 2 312 33r 9 2 317 33r p 2 30g 33p j 2 31t 31u 3 2 31t 31w 1 2 33m 328 1 3 33m \
        31t 328 1 2 33n 328 1 3 33n 31t 328 f 2 31t 328 z 2 32q 33r j 2 330 33r 9 2 335 33r 9 2 \
        33a 33r 9 2 33f 33r p 2 32o 33p 61 2 36t 372 5gz 2 1t md 1 2 2p md 1 2 1u lj 1 2 2q lj 1 \
        2 1u mb 1 2 2q mb 1 2 1u mp 1 2 2q mp 1 3 1v mf ld 1 3 2r mf ld 1 2 1w lj 1 2 2s lj 1 2 \
        1w mb 1 2 2s mb 1 2 1w mp 1 2 2s mp 1 2 1w mf 1 2 2s mf 1 2 1w ml 1 2 2s ml 1 3 1x lg lc \
        1 3 2t lg lc 1 3 1x lg ld 1 3 2t lg ld 1 2 1x ml 1 2 2t ml 1 2 1x mo 1 2 2t mo 1 3 1x mf \
        li 1 3 2t mf li 1 2 1y lj 1 2 2u lj 1 2 1z lg 1 2 2v lg 1 2 20 lj 1 2 2w lj 1 2 20 mb 1 \
        2 2w mb 1 2 20 lk 1 2 2w lk 1 2 20 mf 1 2 2w mf 1 2 20 mm 1 2 2w mm 1 2 21 mo 1 2 2x mo \
        1 3 21 lk ld 1 3 2x lk ld 1 2 23 ld 1 2 2z ld 1 2 23 mb 1 2 2z mb 1 2 23 mp 1 2 2z mp 1 \
        2 24 mb 1 2 30 mb 1 3 24 mb lg 1 3 30 mb lg 1 2 24 mp 1 2 30 mp 1 2 24 ml 1 2 30 ml 1 2 \
        25 ld 1 2 31 ld 1 2 25 lj 1 2 31 lj 1 2 25 mb 1 2 31 mb 1 2 26 lj 1 2 32 lj 1 2 26 mb 1 \
        2 32 mb 1 2 26 mp 1 2 32 mp 1 2 26 ml 1 2 32 ml 1 3 27 lf ld 1 3 33 lf ld 1 3 27 lf lk 1 \
        3 33 lf lk 1 3 27 lg lc 1 3 33 lg lc 1 3 27 lg ld 1 3 33 lg ld 1 2 28 ld 1 2 34 ld 1 2 \
        28 lj 1 2 34 lj 1 2 2a lj 1 2 36 lj 1 2 2a mb 1 2 36 mb 1 3 2a mb lg 1 3 36 mb lg 1 2 2a \
        mp 1 2 36 mp 1 2 2b lj 1 2 37 lj 1 2 2b mb 1 2 37 mb 1 3 2b ld lj 1 3 37 ld lj 1 3 2b lo \
        lj 1 3 37 lo lj 1 3 2b mb lj 1 3 37 mb lj 1 2 2c lj 1 2 38 lj 1 2 2c mb 1 2 38 mb 1 2 2c \
        mp 1 2 38 mp 1 2 2c ml 1 2 38 ml 1 2 2d mc 1 2 39 mc 1 2 2d mo 1 2 39 mo 1 2 2d ml 1 2 \
        39 ml 1 3 2d lf ld 1 3 39 lf ld 1 3 2d lg lk 1 3 39 lg lk 1 2 2e lf 1 2 3a lf 1 2 2e mb \
        1 2 3a mb 1 2 2f lc 1 2 3b lc 1 2 2f ld 1 2 3b ld 1 2 2f lk 1 2 3b lk 1 2 2f lj 1 2 3b \
        lj 1 2 2f mb 1 2 3b mb 1 2 2g lj 1 2 3c lj 1 2 2g lk 1 2 3c lk 1 2 2h lj 1 2 3d lj 1 2 \
        2i le 1 2 3e le 1 2 2i mb 1 2 3e mb 1 2 2i mp 1 2 3e mp 1 2 2w mp 1 2 38 lk 1 2 3b lm 1 \
        2 3d lm 1 2 2p ji 1 2 37 lj 9 2 1t mb 1 2 2p mb 1 2 1t ll 1 2 2p ll 1 3 1t le ld 1 3 2p \
        le ld 1 3 1t le lc 1 3 2p le lc 1 3 1t le ll 1 3 2p le ll 1 3 1t le lf 1 3 2p le lf 1 3 \
        1t mb le 1 3 2p mb le 1 3 1t li ld 1 3 2p li ld 1 3 1t li lc 1 3 2p li lc 1 3 1t li ll 1 \
        3 2p li ll 1 3 1t li lf 1 3 2p li lf 1 3 1t mb li 1 3 2p mb li 1 2 1x mb 1 2 2t mb 1 2 \
        1x ll 1 2 2t ll 1 2 1x lf 1 2 2t lf 1 3 1x le ld 1 3 2t le ld 1 3 1x le lc 1 3 2t le lc \
        1 3 1x le ll 1 3 2t le ll 1 3 1x le lf 1 3 2t le lf 1 3 1x mb le 1 3 2t mb le 1 2 21 ll \
        1 2 2x ll 1 2 21 mb 1 2 2x mb 1 2 27 mb 1 2 33 mb 1 2 27 ll 1 2 33 ll 1 3 27 le ld 1 3 \
        33 le ld 1 3 27 le lc 1 3 33 le lc 1 3 27 le ll 1 3 33 le ll 1 3 27 le lf 1 3 33 le lf 1 \
        3 27 mb le 1 3 33 mb le 1 3 27 m3 ld 1 3 33 m3 ld 1 3 27 m3 lc 1 3 33 m3 lc 1 3 27 m3 ll \
        1 3 33 m3 ll 1 3 27 m3 lf 1 3 33 m3 lf 1 3 27 m3 mb 1 3 33 m3 mb 1 2 2d mb 1 2 39 mb 1 2 \
        2d ll 1 2 39 ll 1 3 2d m3 ld 1 3 39 m3 ld 1 3 2d m3 lc 1 3 39 m3 lc 1 3 2d m3 ll 1 3 39 \
        m3 ll 1 3 2d m3 lf 1 3 39 m3 lf 1 3 2d m3 mb 1 3 39 m3 mb 1 2 2h lc 1 2 3d lc 1 2 2h mb \
        1 2 3d mb 1 2 2h ll 1 2 3d ll 1 2 2h lf 1 2 3d lf d 2 q9 lv 1 2 q9 lw 1 3 q9 lv lc 1 3 \
        q9 lw lc 1 3 q9 lv ld 1 3 q9 lw ld 1 3 q9 lv n6 1 3 q9 lw n6 1 2 pd lv 1 2 pd lw 1 3 pd \
        lv lc 1 3 pd lw lc 1 3 pd lv ld 1 3 pd lw ld 1 3 pd lv n6 1 3 pd lw n6 1 2 qd lv 1 2 qd \
        lw 1 3 qd lv lc 1 3 qd lw lc 1 3 qd lv ld 1 3 qd lw ld 5 2 ph lv 1 2 ph lw 1 3 ph lv lc \
        1 3 ph lw lc 1 3 ph lv ld 1 3 ph lw ld 5 2 qf lv 1 2 qf lw 1 3 qf lv lc 1 3 qf lw lc 1 3 \
        qf lv ld 1 3 qf lw ld 1 3 qf lv n6 1 3 qf lw n6 1 2 pj lv 1 2 pj lw 1 3 pj lv lc 1 3 pj \
        lw lc 1 3 pj lv ld 1 3 pj lw ld 1 3 pj lv n6 1 3 pj lw n6 1 2 qh lv 1 2 qh lw 1 3 qh lv \
        lc 1 3 qh lw lc 1 3 qh lv ld 1 3 qh lw ld 1 3 qh lv n6 1 3 qh lw n6 1 2 pl lv 1 2 pl lw \
        1 3 pl lv lc 1 3 pl lw lc 1 3 pl lv ld 1 3 pl lw ld 1 3 pl lv n6 1 3 pl lw n6 1 2 qn lv \
        1 2 qn lw 1 3 qn lv lc 1 3 qn lw lc 1 3 qn lv ld 1 3 qn lw ld 5 2 pr lv 1 2 pr lw 1 3 pr \
        lv lc 1 3 pr lw lc 1 3 pr lv ld 1 3 pr lw ld 5 2 qt lv 1 2 qt lw 1 3 qt lv lc 1 3 qt lw \
        lc 1 3 qt lv ld 1 3 qt lw ld 1 3 qt lv n6 1 3 qt lw n6 3 2 px lw 3 3 px lw lc 3 3 px lw \
        ld 3 3 px lw n6 1 2 qx lv 1 2 qx lw 1 3 qx lv lc 1 3 qx lw lc 1 3 qx lv ld 1 3 qx lw ld \
        1 3 qx lv n6 1 3 qx lw n6 1 2 q1 lv 1 2 q1 lw 1 3 q1 lv lc 1 3 q1 lw lc 1 3 q1 lv ld 1 3 \
        q1 lw ld 1 3 q1 lv n6 1 3 q1 lw n6 1 2 q9 lc 1 2 q9 ld 1 2 qd lc 1 2 qd ld 1 2 qf lc 1 2 \
        qf ld 1 2 qh lc 1 2 qh ld 1 2 qn lc 1 2 qn ld 1 2 qt lc 1 2 qt ld 1 2 qx lc 1 2 qx ld 5 \
        3 q9 lv n9 1 3 q9 lw n9 1 4 q9 lv lc n9 1 4 q9 lw lc n9 1 4 q9 lv ld n9 1 4 q9 lw ld n9 \
        1 4 q9 lv n6 n9 1 4 q9 lw n6 n9 1 3 pd lv n9 1 3 pd lw n9 1 4 pd lv lc n9 1 4 pd lw lc \
        n9 1 4 pd lv ld n9 1 4 pd lw ld n9 1 4 pd lv n6 n9 1 4 pd lw n6 n9 1 3 qf lv n9 1 3 qf \
        lw n9 1 4 qf lv lc n9 1 4 qf lw lc n9 1 4 qf lv ld n9 1 4 qf lw ld n9 1 4 qf lv n6 n9 1 \
        4 qf lw n6 n9 1 3 pj lv n9 1 3 pj lw n9 1 4 pj lv lc n9 1 4 pj lw lc n9 1 4 pj lv ld n9 \
        1 4 pj lw ld n9 1 4 pj lv n6 n9 1 4 pj lw n6 n9 1 3 qx lv n9 1 3 qx lw n9 1 4 qx lv lc \
        n9 1 4 qx lw lc n9 1 4 qx lv ld n9 1 4 qx lw ld n9 1 4 qx lv n6 n9 1 4 qx lw n6 n9 1 3 \
        q1 lv n9 1 3 q1 lw n9 1 4 q1 lv lc n9 1 4 q1 lw lc n9 1 4 q1 lv ld n9 1 4 q1 lw ld n9 1 \
        4 q1 lv n6 n9 1 4 q1 lw n6 n9 1 2 q9 li 1 2 q9 lg 1 3 q9 lc n9 1 2 q9 n9 1 3 q9 ld n9 3 \
        2 q9 n6 1 3 q9 n6 n9 1 2 pd li 1 2 pd lg 1 2 pd lc 1 2 pd ld 1 2 pd n9 1 2 w lv 0 1 qh 1 \
        2 w lv 1 2 w n6 1 3 w lk n6 1 3 qf lc n9 1 2 qf n9 1 3 qf ld n9 3 2 qf n6 1 3 qf n6 n9 1 \
        2 ph lc 1 2 ph ld 1 2 pj lc 1 2 pj ld 1 2 pj n9 1 3 w lv lc 1 3 w lv ld 1 3 w lv n6 1 2 \
        qh li 1 2 qh lg 1 3 qh lk lc 1 3 qh lk ld 5 2 qh n6 1 3 qh lk n6 1 2 pl li 1 2 pl lg 1 2 \
        pl lc 1 2 pl ld 3 3 w lw lc 1 3 w lw ld 1 3 w lw n6 1 2 qt li 1 2 qt lg 1 3 qt lk lc 1 3 \
        qt lk ld 1 2 qp lv 1 2 qp lw 1 2 qt n6 1 3 qt lk n6 1 2 px li 1 2 px lg 1 2 px lc 1 2 px \
        ld 1 2 pt lw 1 3 w lk lc 1 3 w lk ld 0 1 2o 5 3 qx lc n9 1 2 qx n9 1 3 qx ld n9 3 2 qx \
        n6 1 3 qx n6 n9 1 2 pr lc 1 2 pr ld 1 2 q1 lc 1 2 q1 ld 1 2 q1 n9 1 2 w ld 1 2 w lw 2 1 \
        w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w 0 1 w c 1 6c0 b 2 w mr o 1 1a 1 \
        2 1a 1a 1 3 1a 1a 1a g 1 w 7 2 6cy 6cy 1 3 6cy 6cy 6cy 3 2 6d1 6d1 1 3 6d1 6d1 6d1 9 2 x \
        x 3 2 w lh h 2 1r 1r 1 2 1r x 1 2 x 1r r 4 6cy 6cy 6cy 6cy e 1 w w 1 1c 0 1 2x 4 6 1g 0 \
        1 17 0 1 6qa 0 1 1p 0 2 14 0 1 32 0 a 1c 0 1 17 0 1 6qa 0 1 1p 0 2 14 1f 2 2a 37 4v 3 2p \
        1b 2r 1 3 2p 1b 37 0 1 1v 1 2 4w 1v 3 3 2r 1b 33 1 3 2r 1b 39 0 1 b4 3 2 4w 1y 0 1 2v 0 \
        1 20 0 1 20 0 1 20 0 1 2w 0 1 87 0 1 21 0 1 21 0 1 24 0 1 30 2 1 26 1 2 26 33 4 3 28 0 1 \
        2a 0 1 2a 5 2 2b 25 1 3 2c 1x 24 1 2 2c 25 2 1 2i 2 1 q1 2 1 2i 2 1 23 1 2 1t lm 0 2 1u \
        2 1 2t 0 2 1x 2 1 25 0 1 33 0 4 15c 0 1 2x 6 1 qb 0 1 pf 0 1 ps 0 1 6q9 8 1 1w 0 2 2s 0 \
        2 2x j 3 1d 6dg 1f 1 3 1e 6dg 1f 1 3 1d 6dg 1h 1 3 1e 6dg 1h 1 3 1f 6dg 1h 1 3 1g 6dg 1h \
        1 3 1d 6dg 1i 1 3 1h 6dg 1i 1 3 1d 6dg 1k 1 3 1f 6dg 1k 1 3 1h 6dg 1k 1 3 1j 6dg 1k 1 2 \
        1d 6dg 0 1 21 1 2 21 21 1 3 21 21 21 1 2 21 2e 0 1 2e 1 2 2e 21 1 3 2e 21 21 1 4 2e 21 \
        21 21 1 2 21 2g 0 1 2g 1 2 2g 21 1 3 2g 21 21 0 1 24 0 2 1v 0 1 25 0 1 2x 1 2 2x 2x 1 3 \
        2x 2x 2x 1 2 2x 3a 0 1 3a 1 2 3a 2x 1 3 3a 2x 2x 1 4 3a 2x 2x 2x 1 2 2x 3c 0 1 3c 1 2 3c \
        2x 1 3 3c 2x 2x 0 1 30 0 2 2r 0 1 31 1h 2 6mo mw 1 2 6mq mw 11 2 6ms mw 1p 2 6og mw 1 2 \
        6ok mw 1 2 6oi mw 2x 2 6pv mw 9 2 6q0 mw 5 2 6q3 mw 1b 2 6qr mw 3 2 6qt mw b 2 6qz 6qz 1 \
        3 6qz 6qz 6qz 3 2 6r2 6r2 1 3 6r2 6r2 6r2 x 2 6rg mw 5 2 6rn mw 5 2 6rp mw 3 2 6rs mw 19 \
        2 1p mw 3 2 6sh mw l 2 6rx mw 1 2 1o mw 1 2 1q mw 1 2 6sk mw 1 2 6sl mw 5 2 6sy mw 1 2 \
        6sz mw 5 2 6t2 mw 1 2 6t3 mw d 2 6t6 mw 1 2 6t7 mw 5 2 6te mw 1 2 6tf mw 5 2 6ti mw 1 2 \
        6tj mw 1x 2 6ua mw 1 2 6ug mw 1 2 6uh mw 1 2 6uj mw 2p 2 6t8 mw 1 2 6t9 mw 1 2 6tt mw 1 \
        2 6tu mw d 2 6uq mw 1 2 6ur mw 1 2 6us mw 1 2 6ut mw 3a 2 9hk h6 9 1d 1 2 1d 1c 1 2 1d \
        1d 1 2 1d 1e 1 2 1d 1f 1 2 1d 1g 1 2 1d 1h 1 2 1d 1i 1 2 1d 1j 1 2 1d 1k 1 2 1d 1l 1 2 \
        1e 1c 1 3 14 1d 15 1 3 14 1e 15 1 3 14 1f 15 1 3 14 1g 15 1 3 14 1h 15 1 3 14 1i 15 1 3 \
        14 1j 15 1 3 14 1k 15 1 3 14 1l 15 1 4 14 1d 1c 15 1 4 14 1d 1d 15 1 4 14 1d 1e 15 1 4 \
        14 1d 1f 15 1 4 14 1d 1g 15 1 4 14 1d 1h 15 1 4 14 1d 1i 15 1 4 14 1d 1j 15 1 4 14 1d 1k \
        15 1 4 14 1d 1l 15 1 4 14 1e 1c 15 1 2 1d 1a 1 2 1e 1a 1 2 1f 1a 1 2 1g 1a 1 2 1h 1a 1 2 \
        1i 1a 1 2 1j 1a 1 2 1k 1a 1 2 1l 1a 1 3 1d 1c 1a 1 3 1d 1d 1a 1 3 1d 1e 1a 1 3 1d 1f 1a \
        1 3 1d 1g 1a 1 3 1d 1h 1a 1 3 1d 1i 1a 1 3 1d 1j 1a 1 3 1d 1k 1a 1 3 1d 1l 1a 1 3 1e 1c \
        1a 1 3 14 2p 15 1 3 14 2q 15 1 3 14 2r 15 1 3 14 2s 15 1 3 14 2t 15 1 3 14 2u 15 1 3 14 \
        2v 15 1 3 14 2w 15 1 3 14 2x 15 1 3 14 2y 15 1 3 14 2z 15 1 3 14 30 15 1 3 14 31 15 1 3 \
        14 32 15 1 3 14 33 15 1 3 14 34 15 1 3 14 35 15 1 3 14 36 15 1 3 14 37 15 1 3 14 38 15 1 \
        3 14 39 15 1 3 14 3a 15 1 3 14 3b 15 1 3 14 3c 15 1 3 14 3d 15 1 3 14 3e 15 0 q 1t 0 q \
        2p 0 1 1c 20z 4 6qz 6qz 6qz 6qz 5r 3 1m 1m 1p 1 2 1p 1p 1 3 1p 1p 1p 5n 2 8gt mw 1hg 1 \
        lal 4m 1 vj3 o 1 feo 0 1 ffs 0 1 fg6 0 1 fgf 0 1 fh5 0 1 fid 0 1 fik 0 1 fj4 0 1 fju 0 1 \
        g1r 0 1 g2t 0 1 g2z 0 1 g3m 0 1 g46 0 1 g4r 0 1 g68 0 1 g6t 0 1 g74 0 1 gbf 0 1 ge1 0 1 \
        get 0 1 gey 0 1 gfs 0 1 gg1 0 1 ggs 0 1 gh5 0 1 ghu 0 1 gja 0 1 gjs 0 1 gkj 0 1 h5j 0 1 \
        h7j 0 1 hkb 0 1 hky 0 1 hl6 0 1 hlh 0 1 hlz 0 1 ho3 0 1 i1c 0 1 i2o 0 1 i60 0 1 i6n 0 1 \
        i76 0 1 i7s 0 1 i9a 0 1 i9d 0 1 ijf 0 1 ijp 0 1 ik1 0 1 ike 0 1 inm 0 1 inu 0 1 inz 0 1 \
        ir8 0 1 iri 0 1 irv 0 1 is3 0 1 its 0 1 iu9 0 1 iur 0 1 iwz 0 1 jd4 0 1 jee 0 1 jez 0 1 \
        jzj 0 1 jzo 0 1 k1z 0 1 k2f 0 1 k2s 0 1 k3d 0 1 k4g 0 1 k4l 0 1 kc0 0 1 kco 0 1 kdk 0 1 \
        l5s 0 1 l7m 0 1 l89 0 1 l9v 0 1 laj 0 1 las 0 1 laz 0 1 lcf 0 1 lck 0 1 ldg 0 1 m7f 0 1 \
        mju 0 1 mk6 0 1 mkb 0 1 mkf 0 1 mkn 0 1 ml5 0 1 ml7 0 1 mng 0 1 mtg 0 1 mtl 0 1 n30 0 1 \
        n3a 0 1 n4o 0 1 n4v 0 1 n54 0 1 n5c 0 1 n7v 0 1 n82 0 1 nee 0 1 nel 0 1 nfy 0 1 ngf 0 1 \
        nhq 0 1 nob 0 1 noi 0 1 noz 0 1 ny2 0 1 o1k 0 1 o1q 0 1 o6s 0 1 o97 0 1 oah 0 1 okz 0 1 \
        ooo 0 1 p4m 0 1 p5d 0 1 p6y 0 1 p8d 0 1 pa9 0 1 pak 0 1 paq 0 1 pbn 0 1 pdr 0 1 pe1 0 1 \
        pnn 0 1 pnu 0 1 po3 0 1 poc 0 1 pos 0 1 pp7 0 1 ppb 0 1 pri 0 1 prm 0 1 prs 0 1 qj1 0 1 \
        qjv 0 1 qww 0 1 qx8 0 1 qxv 0 1 r5q 0 1 r63 0 1 r82 0 1 r9c 0 1 rp3 0 1 rpi 0 1 rpx 0 1 \
        rqw 0 1 rrx 0 1 rxg 0 1 rxs 0 1 rzn 0 1 s6j 0 1 s7e 0 1 sd7 0 1 sds 0 1 sdx 0 1 sk1 0 1 \
        sp5 0 1 ssm 0 1 sss 0 1 ssx 0 1 tiv 0 1 tj4 0 1 tng 0 1 trq 0 1 trt 0 1 tt4 0 1 tw1 0 1 \
        twe 0 1 twi 0 1 twp 0 1 tzf 0 1 u0d 0 1 u0j 0 1 u0x 0 1 u5k 0 1 u6z 0 1 u73 0 1 uc6 0 1 \
        uc9 0 1 ucs 0 1 ujs 0 1 ul4 0 1 ulb 0 1 un9 0 1 unj 0 1 unm 0 1 unw 0 1 uoq 0 1 uzp 0 1 \
        vat 0 1 vb3 0 1 vc5 0 1 vcr 0 1 vcz 0 1 vd9 0 1 vdd 0 1 veh 0 1 vel 0 1 vf2 0 1 vf7 0 1 \
        vfk 0 1 vgb 0 1 vgq 0 1 vgy 0 1 vil 0 1 vj0 0 1 vj4 2c 1 w 2y 1 9hu 2 1 gg1 0 2 gg4 z 2 \
        9jf 9ll 3 2 9jh 9ll 3 2 9jj 9ll 3 2 9jl 9ll 3 2 9jn 9ll 3 2 9jp 9ll 3 2 9jr 9ll 3 2 9jt \
        9ll 3 2 9jv 9ll 3 2 9jx 9ll 3 2 9jz 9ll 3 2 9k1 9ll 5 2 9k4 9ll 3 2 9k6 9ll 3 2 9k8 9ll \
        d 2 9kf 9ll 1 2 9kf 9lm 3 2 9ki 9ll 1 2 9ki 9lm 3 2 9kl 9ll 1 2 9kl 9lm 3 2 9ko 9ll 1 2 \
        9ko 9lm 3 2 9kr 9ll 1 2 9kr 9lm 19 2 9ja 9ll d 2 w 9ll 1 2 w 9lm 3 2 9lp 9ll 1 2 9l4 9l6 \
        p 2 9m3 9ll 3 2 9m5 9ll 3 2 9m7 9ll 3 2 9m9 9ll 3 2 9mb 9ll 3 2 9md 9ll 3 2 9mf 9ll 3 2 \
        9mh 9ll 3 2 9mj 9ll 3 2 9ml 9ll 3 2 9mn 9ll 3 2 9mp 9ll 5 2 9ms 9ll 3 2 9mu 9ll 3 2 9mw \
        9ll d 2 9n3 9ll 1 2 9n3 9lm 3 2 9n6 9ll 1 2 9n6 9lm 3 2 9n9 9ll 1 2 9n9 9lm 3 2 9nc 9ll \
        1 2 9nc 9lm 3 2 9nf 9ll 1 2 9nf 9lm 19 2 9ly 9ll 5 2 9nz 9ll 1 2 9o0 9ll 1 2 9o1 9ll 1 2 \
        9o2 9ll 7 2 9od 9ll 1 2 9mb 9mw 2q 2 3cw 0 1 3hm 0 1 3cy 0 2 3ho 0 3 3cz 0 6 3hs 0 1 3dm \
        0 3 3d2 0 1 3dt 0 a 3d5 0 l 3fl 0 1 3fk 0 2 3dg 0 2 3if 0 1 3ik 0 1 3im 0 1 3ir 0 1 3iv \
        0 1 3ix 0 1 3do 0 1 3j1 0 1 3j3 0 2 3dp 0 1 3ds 0 2 3du 0 1 3dz 0 1 3e1 0 5 3e3 0 1 3ea \
        0 1 3ee 0 1 3eo 0 1 3ev 0 1 3f0 0 2 3jl 0 3 3fb 0 2 3gk 0 1 3go 0 2 3gx 0 1 3h0 0 1 3ha \
        0 1 3hd 6 1 feo 0 1 fik 0 1 fex 0 1 h5n 0 1 fey 0 1 ffx 0 1 fez 0 1 n5e 0 1 fh5 0 1 ffd \
        0 1 fep 0 1 hm1 0 1 h80 0 1 fju 5d 3 14 3cw 15 1 3 14 3cy 15 1 3 14 3cz 15 1 3 14 3d1 15 \
        1 3 14 3d2 15 1 3 14 3d3 15 1 3 14 3d5 15 1 3 14 3d7 15 1 3 14 3d8 15 1 3 14 3da 15 1 3 \
        14 3db 15 1 3 14 3dc 15 1 3 14 3dd 15 1 3 14 3de 15 1 4 14 3cw 3fl 15 1 4 14 3cy 3fl 15 \
        1 4 14 3cz 3fl 15 1 4 14 3d1 3fl 15 1 4 14 3d2 3fl 15 1 4 14 3d3 3fl 15 1 4 14 3d5 3fl \
        15 1 4 14 3d7 3fl 15 1 4 14 3d8 3fl 15 1 4 14 3da 3fl 15 1 4 14 3db 3fl 15 1 4 14 3dc \
        3fl 15 1 4 14 3dd 3fl 15 1 4 14 3de 3fl 15 1 4 14 3d8 3fy 15 7 3 14 feo 15 1 3 14 fik 15 \
        1 3 14 fex 15 1 3 14 h5n 15 1 3 14 fis 15 1 3 14 g31 15 1 3 14 fer 15 1 3 14 g2z 15 1 3 \
        14 fh9 15 1 3 14 gg1 15 1 3 14 kco 15 1 3 14 m7f 15 1 3 14 ldg 15 1 3 14 kdk 15 1 3 14 \
        ssx 15 1 3 14 h7j 15 1 3 14 k4l 15 1 3 14 kkq 15 1 3 14 kcp 15 1 3 14 ny6 15 1 3 14 glp \
        15 1 3 14 mm1 15 1 3 14 rs1 15 1 3 14 nz1 15 1 3 14 gc4 15 1 3 14 fkz 15 1 3 14 gos 15 1 \
        3 14 i1y 15 1 3 14 nhf 15 1 3 14 flt 15 1 3 14 rt3 15 1 3 14 ggk 15 1 3 14 nzh 15 1 3 14 \
        fm9 15 1 3 14 pnu 15 1 3 14 po3 15 r 2 1e 1d 1 2 1e 1e 1 2 1e 1f 1 2 1e 1g 1 2 1e 1h 1 2 \
        1e 1i 1 2 1e 1j 1 2 1e 1k 1 2 1e 1l 1 2 1f 1c 1 2 1f 1d 1 2 1f 1e 1 2 1f 1f 1 2 1f 1g 1 \
        2 1f 1h 0 1 3cw 0 2 3cy 0 3 3d1 0 1 3d5 0 2 3d7 0 5 3da 1 2 3cw 3fl 1 2 3cy 3fl 1 2 3cz \
        3fl 1 2 3d1 3fl 1 2 3d2 3fl 1 2 3d3 3fl 1 2 3d5 3fl 1 2 3d7 3fl 1 2 3d8 3fl 1 2 3da 3fl \
        1 2 3db 3fl 1 2 3dc 3fl 1 2 3dd 3fl 1 2 3de 3fl 8 1 feo 0 1 fik 0 1 fex 0 1 h5n 0 1 fis \
        0 1 g31 0 1 fer 0 1 g2z 0 1 fh9 0 1 gg1 0 1 kco 0 1 m7f 0 1 ldg 0 1 kdk 0 1 ssx 0 1 h7j \
        0 1 k4l 0 1 kkq 0 1 kcp 0 1 ny6 0 1 glp 0 1 mm1 0 1 rs1 0 1 nz1 0 1 gc4 0 1 o2g 0 1 n5j \
        0 1 ho3 0 1 six 0 1 g16 0 1 ghc 0 1 lig 0 1 u11 0 1 fm9 0 1 g49 0 1 l7n 0 1 fey 0 1 ffx \
        0 1 fez 0 1 ijq 0 1 gkz 0 1 gfv 0 1 i3b 0 1 i1y 0 1 nhf 0 1 flt 0 1 rt3 0 1 ggk 0 1 hlo \
        1 2 1f 1i 1 2 1f 1j 1 2 1f 1k 1 2 1f 1l 1 2 1g 1c 1 2 1g 1d 1 2 1g 1e 1 2 1g 1f 1 2 1g \
        1g 1 2 1g 1h 1 2 1g 1i 1 2 1g 1j 1 2 1g 1k 1 2 1g 1l 1 2 1h 1c 1 2 1d kco 1 2 1e kco 1 2 \
        1f kco 1 2 1g kco 1 2 1h kco 1 2 1i kco 1 2 1j kco 1 2 1k kco 1 2 1l kco 1 3 1d 1c kco 1 \
        3 1d 1d kco 1 3 1d 1e kco 8 1 9lu 0 1 9lw 0 1 9ly 0 1 9m0 0 2 9m2 0 1 9m5 0 1 9m7 0 1 \
        9m9 0 1 9mb 0 1 9md 0 1 9mf 0 1 9mh 0 1 9mj 0 1 9ml 0 1 9mn 0 1 9mp 0 1 9ms 0 1 9mu 0 1 \
        9mw 0 6 9my 0 1 9n6 0 1 9n9 0 1 9nc 0 1 9nf 0 5 9ni 0 1 9no 0 1 9nq 0 6 9ns 0 4 9nz 3 5 \
        9lu 9n3 9lm 9oc 9mw 1 4 9lu 9nv 9n9 9lt 1 5 9lu 9o3 9nc 9lm 9lu 1 3 9lu 9oc 9nv 1 5 9lw \
        9mz 9o3 9m7 9ll 1 3 9lw 9o3 9mp 1 3 9ly 9m1 9o3 1 6 9m0 9mh 9m7 9oc 9mw 9ll 1 4 9m0 9oc \
        9m3 9oc 1 3 9m2 9o3 9mh 1 3 9m2 9oc 9nk 1 3 9m3 9lw 9nu 1 4 9m3 9nt 9mr 9mw 1 4 9m3 9nx \
        9nu 9oc 1 4 9m3 9ll 9nx 9o3 1 4 9m3 9ll 9o3 9ni 1 4 9m5 9ll 9m3 9ll 1 4 9m5 9ll 9mz 9oc \
        1 4 9m5 9np 9nu 9oc 1 6 9m5 9ll 9nv 9mn 9ll 9oc 1 2 9m5 9nx 1 6 9m5 9nx 9m7 9ll 9nt 9nk \
        1 6 9m5 9nx 9nl 9oc 9mw 9nv 1 5 9m5 9nx 9nz 9mr 9mw 1 4 9m7 9ll 9nt 9nk 1 6 9m7 9ll 9nt \
        9nk 9mw 9o3 1 6 9m7 9nv 9mj 9ll 9lw 9nx 1 4 9m7 9nx 9oc 9n1 1 3 9m9 9oc 9mh 1 3 9mb 9nv \
        9my 1 4 9mb 9oc 9nf 9lm 1 4 9md 9lw 9m7 9nv 1 5 9md 9o3 9mp 9oc 9nk 1 5 9mf 9nu 9o3 9m7 \
        9ll 1 3 9mj 9o3 9mp 1 3 9mj 9o3 9mw 1 4 9mn 9ll 9oc 9mh 1 3 9mu 9ll 9mf 1 3 9mw 9ll 9nv \
        1 2 9mw 9o3 1 2 9my 9n2 1 3 9n2 9mr 9mw 1 3 9n3 9lw 9ms 1 6 9n3 9lm 9oc 9mj 9o3 9mw 1 4 \
        9n3 9lm 9oc 9ms 1 5 9n3 9ll 9oc 9nw 9nv 1 6 9n6 9lm 9lu 9mh 9mw 9nv 1 4 9n6 9lm 9m7 9nv \
        1 3 9n6 9lm 9mb 1 3 9n6 9ll 9nv 1 6 9n9 9lt 9nt 9mr 9mw 9ll 1 4 9n9 9lv 9oc 9mw 1 6 9n9 \
        9ll 9mr 9mf 9lz 9nv 1 3 9n9 9nt 9o3 1 5 9nc 9m7 9mn 9oc 9nv 1 3 9nc 9lm 9ml 1 4 9nc 9lm \
        9mz 9n6 1 3 9nc 9nv 9ms 1 4 9nc 9lm 9o3 9mh 1 5 9nc 9lm 9oc 9mf 9ll 1 4 9nc 9ll 9oc 9mn \
        1 5 9nf 9lm 9lw 9o3 9mw 1 4 9nf 9ll 9nv 9mw 1 2 9nf 9o3 1 5 9nf 9lm 9o3 9mw 9ll 1 3 9nf \
        9oc 9nv 1 3 9nf 9oc 9o3 1 4 9ni 9lw 9m7 9nx 1 3 9ni 9lw 9nv 1 3 9ni 9mr 9n3 1 3 9ni 9nv \
        9m7 1 5 9ni 9o3 9mf 9nr 9o3 1 4 9nj 9m7 9nx 9o3 1 2 9nj 9nu 1 6 9nj 9nu 9n3 9ll 9oc 9nv \
        1 3 9nl 9m3 9ll 1 5 9nl 9m3 9ll 9mw 9o3 1 4 9nl 9oc 9mw 9nv 1 4 9no 9oc 9mw 9ll 1 3 9no \
        9oc 9nv 1 3 9nq 9lu 9o3 1 4 9nu 9mr 9mw 9nv 1 2 9nu 9nt 1 4 9nv 9n6 9lm 9oc 1 5 9nv 9oc \
        9n9 9ll 9nv 1 2 9nw 9nk 1 6 9nw 9o3 9mw 9m9 9ll 9o3 1 3 9nz 9mr 9mw 1 2 1c m9l 1 2 1d \
        m9l 1 2 1e m9l 1 2 1f m9l 1 2 1g m9l 1 2 1h m9l 1 2 1i m9l 1 2 1j m9l 1 2 1k m9l 1 2 1l \
        m9l 1 3 1d 1c m9l 1 3 1d 1d m9l 1 3 1d 1e m9l 1 3 1d 1f m9l 1 3 1d 1g m9l 1 3 1d 1h m9l \
        1 3 1d 1i m9l 1 3 1d 1j m9l 1 3 1d 1k m9l 1 3 1d 1l m9l 1 3 1e 1c m9l 1 3 1e 1d m9l 1 3 \
        1e 1e m9l 1 3 1e 1f m9l 1 3 1e 1g m9l 1 3 2w 28 2p 1 2 2s 2p 1 2 1t 2d 1 3 2q 2p 36 1 2 \
        33 2e 1 2 34 2r 9 2 inn jdc 1 2 k6l gp8 1 2 hlz l7n 1 2 k5q lh7 1 4 kkq irz fmi ny6 1 2 \
        34 1t 1 2 32 1t 1 2 qk 1t 1 2 31 1t 1 2 2z 1t 1 2 23 1u 1 2 25 1u 1 2 1z 1u 1 3 2r 2p 30 \
        1 4 2z 2r 2p 30 1 2 34 1y 1 2 32 1y 1 2 qk 1y 1 2 qk 2v 1 2 31 2v 1 2 2z 2v 1 2 20 3e 1 \
        3 2z 20 3e 1 3 25 20 3e 1 3 1z 20 3e 1 3 2c 20 3e 1 2 qk 30 1 2 31 30 1 2 2s 30 1 2 2z \
        30 1 2 2u 31 1 2 32 31 1 2 qk 31 1 2 31 31 1 2 2r 31 1 2 2z 31 1 3 31 31 1e 1 3 2r 31 1e \
        1 2 31 1e 1 3 2z 31 1e 1 3 31 31 1f 1 3 2r 31 1f 1 2 31 1f 1 3 2z 31 1f 1 3 31 6qd 37 1 \
        4 31 6qd 37 1e 1 2 28 2p 1 3 2z 28 2p 1 3 25 28 2p 1 3 1z 28 2p 1 3 36 2p 2s 1 5 36 2p \
        2s 6qd 37 1 6 36 2p 2s 6qd 37 1e 1 2 34 37 1 2 32 37 1 2 qk 37 1 2 31 37 1 2 34 2e 1 2 \
        32 2e 1 2 qk 2e 1 2 31 2e 1 2 2z 2e 1 2 25 2e 1 2 34 2f 1 2 32 2f 1 2 qk 2f 1 2 31 2f 1 \
        2 2z 2f 1 2 25 2f 1 2 2z q1 1 2 25 q1 1 4 2p 1a 31 1a 1 2 1u 35 1 2 2r 2r 1 2 2r 2s 1 4 \
        1v 6qd 2z 2v 1 3 1v 33 1a 1 2 2s 1u 1 2 1z 3d 1 2 2w 2p 1 2 20 28 1 2 2x 32 1 2 23 23 1 \
        2 23 25 1 2 2z 38 1 2 30 31 1 2 30 32 1 3 30 33 2v 1 2 30 3c 1 2 31 2q 1 3 31 2x 30 1 3 \
        31 33 30 1 2 28 20 1 4 34 1a 31 1a 1 3 28 28 25 1 2 28 2a 1 2 37 36 1 2 2b 3a 1 2 2f 2q \
        5 2 1d k4l 1 2 1e k4l 1 2 1f k4l 1 2 1g k4l 1 2 1h k4l 1 2 1i k4l 1 2 1j k4l 1 2 1k k4l \
        1 2 1l k4l 1 3 1d 1c k4l 1 3 1d 1d k4l 1 3 1d 1e k4l 1 3 1d 1f k4l 1 3 1d 1g k4l 1 3 1d \
        1h k4l 1 3 1d 1i k4l 1 3 1d 1j k4l 1 3 1d 1k k4l 1 3 1d 1l k4l 1 3 1e 1c k4l 1 3 1e 1d \
        k4l 1 3 1e 1e k4l 1 3 1e 1f k4l 1 3 1e 1g k4l 1 3 1e 1h k4l 1 3 1e 1i k4l 1 3 1e 1j k4l \
        1 3 1e 1k k4l 1 3 1e 1l k4l 1 3 1f 1c k4l 1 3 1f 1d k4l 25tu 1 rpk 0 1 kc4 0 1 s7e 0 1 \
        rt4 0 1 lw1 0 1 fg2 0 1 gkl 0 1 vj0 0 1 vj0 0 1 hn5 0 1 ssx 0 1 gw7 0 1 hmw 0 1 jcm 0 1 \
        ne1 0 1 p6t 0 1 qin 0 1 qt6 0 1 r20 0 1 sjz 0 1 kxu 0 1 ljv 0 1 mah 0 1 mvy 0 1 q4d 0 1 \
        sq2 0 1 uep 0 1 fia 0 1 ghh 0 1 l50 0 1 mjf 0 1 qi5 0 1 v8e 0 1 ifk 0 1 m3v 0 1 qfh 0 1 \
        r50 0 1 jih 0 1 pnc 0 1 qvz 0 1 iq2 0 1 kd3 0 1 lm2 0 1 mpo 0 1 slq 0 1 fpi 0 1 g53 0 1 \
        gda 0 1 jwk 0 1 l3n 0 1 mj4 0 1 nhj 0 1 pa9 0 1 qh2 0 1 qjg 0 1 s1b 0 1 tv6 0 1 upb 0 1 \
        v7e 0 1 nt8 0 1 nzz 0 1 otc 0 1 q15 0 1 t1g 0 1 vb3 0 1 rfa 0 1 hjz 0 1 iro 0 1 okg 0 1 \
        pdq 0 1 mle 0 1 nuy 0 1 rsy 0 1 ttj 0 1 hjs 0 1 i8y 0 1 kyb 0 1 lp6 0 1 lxr 0 1 oq7 0 1 \
        oxj 0 1 tor 0 1 gcy 0 1 pe3 0 1 g64 0 1 g5o 0 1 o4c 0 1 ou6 0 1 q29 0 1 tpx 0 1 rk0 0 1 \
        jin 0 1 kxu 0 1 rge 0 1 fg9 0 1 i5j 0 1 iz6 0 1 mtj 0 1 n74 0 1 gev 0 1 nwb 0 1 fr3 0 1 \
        iw9 0 1 ff1 0 1 lho 0 1 k1k 0 1 opu 0 1 gjn 0 1 hge 0 1 ni9 0 1 q4p 0 1 re2 0 1 la2 0 1 \
        sds 0 1 lfs 0 1 jjy 0 1 put 0 1 jog 0 1 n6t 0 1 fji 0 1 g2x 0 1 g5l 0 1 kn5 0 1 oo7 0 1 \
        prj 0 1 rf6 0 1 ssv 0 1 gdx 0 1 gn6 0 1 ho3 0 1 ir0 0 1 k3p 0 1 m4e 0 1 nxm 0 1 tkd 0 1 \
        ui2 0 1 vbr 0 1 vda 0 1 gbf 0 1 kau 0 1 l87 0 1 sbm 0 1 ino 0 1 j9s 0 1 jcw 0 1 jve 0 1 \
        lyb 0 1 mdl 0 1 n0p 0 1 o22 0 1 ovo 0 1 pdb 0 1 s9y 0 1 q9a 0 1 sgz 0 1 t3e 0 1 g7r 0 1 \
        gbn 0 1 gql 0 1 ma0 0 1 r0i 0 1 re2 0 1 iq1 0 1 iyd 0 1 jnf 0 1 l9q 0 1 oji 0 1 mt1 0 1 \
        fl0 0 1 h6h 0 1 i5j 0 1 iii 0 1 izg 0 1 muq 0 1 mzt 0 1 p7e 0 1 pc6 0 1 svo 0 1 tti 0 1 \
        tvs 0 1 u1k 0 1 fpn 0 1 o1a 0 1 ss4 0 1 trs 0 1 j4x 0 1 fie 0 1 fyy 0 1 i5q 0 1 i7z 0 1 \
        k2h 0 1 kxu 0 1 mha 0 1 ncy 0 1 q9o 0 1 sjg 0 1 vil 0 1 k94 0 1 tny 0 1 gax 0 1 kfv 0 1 \
        kj7 0 1 lkx 0 1 luk 0 1 mx5 0 1 n6h 0 1 nsb 0 1 opc 0 1 u3i 0 1 g31 0 1 je6 0 1 tq0 0 1 \
        fu3 0 1 ie1 0 1 lpm 0 1 sa2 0 1 ivf 0 1 j7o 0 1 kk7 0 1 mtj 0 1 tqe 0 1 g89 0 1 glr 0 1 \
        i91 0 1 k5v 0 1 kem 0 1 ko8 0 1 lid 0 1 mx2 0 1 naa 0 1 p6h 0 1 r0v 0 1 r1d 0 1 sss 0 1 \
        tsy 0 1 gfz 0 1 lve 0 1 gm5 0 1 mhc 0 1 n14 0 1 qgq 0 1 tr7 0 1 uvr 0 1 vbz 0 1 kgn 0 1 \
        lor 0 1 pns 0 1 o97 0 1 obk 0 1 olu 0 1 mo0 0 1 m8p 0 1 riw 0 1 fk0 0 1 px2 0 1 g8q 0 1 \
        g7b 0 1 ip2 0 1 jir 0 1 onq 0 1 i2t 0 1 ljy 0 1 kac 0 1 saj 0 1 qx8 0 1 tot 0 1 r63 0 1 \
        iqb 0 1 g1s 0 1 gxs 4 1 hga 2 1 k8k 4 1 g66 0 1 mqy 0 1 ngq 0 1 ny4 0 1 nz2 0 1 nz9 0 1 \
        o0f 0 1 tw6 0 1 on2 0 1 p8d 2 1 qhe 2 1 rg8 4 1 shk 0 1 sn1 6 1 u7j 0 1 u7w 0 1 u94 0 1 \
        v5g 4 1 fqm 0 1 fzb 0 1 g25 0 1 gcp 0 1 gdg 0 1 ggh 0 1 gwt 0 1 gzq 0 1 h2g 0 1 hfk 0 1 \
        hig 0 1 i90 0 1 i9a 0 1 j2s 0 1 j8o 0 1 j9q 0 1 jci 0 1 k0f 0 1 k4i 0 1 k9d 0 1 kn9 0 1 \
        lmf 0 1 lqy 0 1 lya 0 1 mem 0 1 mjv 0 1 mxu 0 1 ntd 0 1 ny6 0 1 nyh 0 1 nyg 0 1 nyo 0 1 \
        nyu 0 1 nz1 0 2 o0d 0 1 o5c 0 1 o75 0 1 og0 0 1 ovo 0 1 ow9 0 1 oxt 0 1 p6a 0 1 pad 0 1 \
        pnx 0 1 prt 0 1 prt 0 1 q53 0 1 r2o 0 1 r6e 0 1 rgh 0 1 ri1 0 1 rtf 0 1 ruw 0 1 sdy 0 1 \
        shk 0 1 tsz 0 1 u0v 0 1 u2j 8b 2 2u 2u 1 2 2u 2x 1 2 2u 30 1 3 2u 2u 2x 1 3 2u 2u 30 1 2 \
        37 38 1 2 37 38 p 2 12s 12u 1 2 12s 12d 1 2 12s 12j 1 2 132 12u 1 2 12s 12l b 2 15l 14k \
        3 2 16a 14n 0 1 15u 0 1 15c 0 2 15f 0 3 15n 0 1 160 0 1 162 0 1 17 1 2 161 14x 1 2 161 \
        14y 1 3 161 14s 14x 1 3 161 14s 14y 1 2 15c 14n 1 2 15c 14o 1 2 15c 14s 1 2 15d 14s 1 2 \
        15e 14s 1 2 15f 14s 1 2 15g 14s 1 2 15h 14s 1 2 15i 14s 3 2 15k 14s 1 2 15l 14s 1 2 15m \
        14s 1 2 15n 14s 1 2 15o 14s 3 2 15q 14s 3 2 15s 14s 1 2 15t 14s 3 2 15v 14s 1 2 15w 14s \
        3 2 15y 14s 1 2 15z 14s 1 2 160 14s 1 2 161 14s 1 2 162 14s 1 2 15h 14p 1 2 15d 14v 1 2 \
        15n 14v 1 2 15w 14v 1 2 15c 15o 0 1 19t 0 1 19t 0 1 1a3 0 1 1a3 0 1 1a3 0 1 1a3 0 1 1a6 \
        0 1 1a6 0 1 1a6 0 1 1a6 0 1 1a8 0 1 1a8 0 1 1a8 0 1 1a8 0 1 1a2 0 1 1a2 0 1 1a2 0 1 1a2 \
        0 1 1a7 0 1 1a7 0 1 1a7 0 1 1a7 0 1 1a1 0 1 1a1 0 1 1a1 0 1 1a1 0 1 1b8 0 1 1b8 0 1 1b8 \
        0 1 1b8 0 1 1ba 0 1 1ba 0 1 1ba 0 1 1ba 0 1 1ac 0 1 1ac 0 1 1ac 0 1 1ac 0 1 1ab 0 1 1ab \
        0 1 1ab 0 1 1ab 0 1 1ae 0 1 1ae 0 1 1ae 0 2 1ae 0 1 1af 0 1 1af 0 1 1af 0 1 1al 0 1 1al \
        0 1 1ak 0 1 1ak 0 1 1am 0 1 1am 0 1 1ag 0 1 1ag 0 1 1aw 0 1 1aw 0 1 1ap 0 1 1ap 0 1 1bd \
        0 1 1bd 0 1 1bd 0 1 1bd 0 1 1bj 0 1 1bj 0 1 1bj 0 1 1bj 0 1 1bn 0 1 1bn 0 1 1bn 0 1 1bn \
        0 1 1bl 0 1 1bl 0 1 1bl 0 1 1bl 0 1 1bu 0 2 1bu 0 1 1bv 0 1 1bv 0 1 1bv 1 2 1cl 190 1 2 \
        1cl 190 0 1 1c1 0 1 1c1 0 1 1c1 0 1 1c1 0 1 1by 0 1 1by 0 1 1by 0 1 1by 0 1 1ci 0 1 1ci \
        1 2 1ci 190 1 2 1ci 190 1u 1 1bh 0 1 1bh 0 1 1bh 0 1 1bh 0 1 1c7 0 1 1c7 0 1 1c6 0 1 1c6 \
        0 1 1c8 0 1 1c8 1 2 1c7 19w 0 1 1cb 0 1 1cb 0 1 1c5 0 1 1c5 0 1 1c9 0 1 1c9 0 1 1cg 0 1 \
        1cg 0 1 1cg 0 1 1cg 0 1 18p 0 1 18p 1 3 18q 190 17r 1 3 18q 190 17r 1 3 18q 190 1cl 1 3 \
        18q 190 1cl 1 3 18q 190 18o 1 3 18q 190 18o 1 3 18q 190 1c7 1 3 18q 190 1c7 1 3 18q 190 \
        1c6 1 3 18q 190 1c6 1 3 18q 190 1c8 1 3 18q 190 1c8 1 3 18q 190 1cg 1 3 18q 190 1cg 1 3 \
        18q 190 1cg 1 3 18q 190 18p 1 3 18q 190 18p 1 3 18q 190 18p 0 1 1cc 0 1 1cc 0 1 1cc 0 1 \
        1cc 1 3 18q 190 17w 1 3 18q 190 17x 1 3 18q 190 18l 1 3 18q 190 18p 1 3 18q 190 18q 1 2 \
        17s 17w 1 2 17s 17x 1 2 17s 17y 1 2 17s 18l 1 2 17s 18p 1 2 17s 18q 1 2 17u 17w 1 2 17u \
        17x 1 2 17u 17y 1 2 17u 18l 1 2 17u 18p 1 2 17u 18q 1 2 17v 17w 1 2 17v 18l 1 2 17v 18p \
        1 2 17v 18q 1 2 17w 17x 1 2 17w 18l 1 2 17x 17w 1 2 17x 18l 1 2 17y 17w 1 2 17y 17x 1 2 \
        17y 18l 1 2 183 17w 1 2 183 17x 1 2 183 17y 1 2 183 18l 1 2 185 17x 1 2 185 18l 1 2 186 \
        17w 1 2 186 17x 1 2 186 17y 1 2 186 18l 1 2 187 17x 1 2 187 18l 1 2 188 18l 1 2 189 17w \
        1 2 189 18l 1 2 18a 17w 1 2 18a 18l 1 2 18h 17w 1 2 18h 17x 1 2 18h 17y 1 2 18h 18l 1 2 \
        18h 18p 1 2 18h 18q 1 2 18i 17x 1 2 18i 18l 1 2 18i 18p 1 2 18i 18q 1 2 18j 17r 1 2 18j \
        17w 1 2 18j 17x 1 2 18j 17y 1 2 18j 18k 1 2 18j 18l 1 2 18j 18p 1 2 18j 18q 1 2 18k 17w \
        1 2 18k 17x 1 2 18k 17y 1 2 18k 18l 1 2 18k 18p 1 2 18k 18q 1 2 18l 17w 1 2 18l 17x 1 2 \
        18l 17y 1 2 18l 18l 1 2 18l 18p 1 2 18l 18q 1 2 18m 17w 1 2 18m 17x 1 2 18m 17y 1 2 18m \
        18l 1 2 18m 18p 1 2 18m 18q 1 2 18n 17w 1 2 18n 18l 1 2 18n 18p 1 2 18n 18q 1 2 18q 17w \
        1 2 18q 17x 1 2 18q 17y 1 2 18q 18l 1 2 18q 18p 1 2 18q 18q 1 2 180 19s 1 2 181 19s 1 2 \
        18p 19s 1 3 w 18s 18x 1 3 w 18t 18x 1 3 w 18u 18x 1 3 w 18v 18x 1 3 w 18w 18x 1 3 w 18x \
        19s 1 3 18q 190 181 1 3 18q 190 182 1 3 18q 190 18l 1 3 18q 190 18m 1 3 18q 190 18p 1 3 \
        18q 190 18q 1 2 17s 181 1 2 17s 182 1 2 17s 18l 1 2 17s 18m 1 2 17s 18p 1 2 17s 18q 1 2 \
        17u 181 1 2 17u 182 1 2 17u 18l 1 2 17u 18m 1 2 17u 18p 1 2 17u 18q 1 2 17v 181 1 2 17v \
        182 1 2 17v 18l 1 2 17v 18m 1 2 17v 18p 1 2 17v 18q 1 2 18h 18p 1 2 18h 18q 1 2 18i 18p \
        1 2 18i 18q 1 2 18j 17r 1 2 18j 18k 1 2 18j 18l 1 2 18j 18p 1 2 18j 18q 1 2 18k 18l 1 2 \
        18k 18p 1 2 18k 18q 1 2 18l 17r 1 2 18l 18l 1 2 18m 181 1 2 18m 182 1 2 18m 18l 1 2 18m \
        18m 1 2 18m 18p 1 2 18m 18q 1 2 18p 19s 1 2 18q 181 1 2 18q 182 1 2 18q 18l 1 2 18q 18m \
        1 2 18q 18p 1 2 18q 18q 1 3 18q 190 17w 1 3 18q 190 17x 1 3 18q 190 17y 1 3 18q 190 18l \
        1 3 18q 190 18n 1 2 17s 17w 1 2 17s 17x 1 2 17s 17y 1 2 17s 18l 1 2 17s 18n 1 2 17u 17w \
        1 2 17u 17x 1 2 17u 17y 1 2 17u 18l 1 2 17u 18n 1 2 17v 18l 1 2 17w 17x 1 2 17w 18l 1 2 \
        17x 17w 1 2 17x 18l 1 2 17y 17w 1 2 17y 18l 1 2 183 17w 1 2 183 17x 1 2 183 17y 1 2 183 \
        18l 1 2 185 17x 1 2 185 17y 1 2 185 18l 1 2 186 17w 1 2 186 17x 1 2 186 17y 1 2 186 18l \
        1 2 187 17x 1 2 188 18l 1 2 189 17w 1 2 189 18l 1 2 18a 17w 1 2 18a 18l 1 2 18h 17w 1 2 \
        18h 17x 1 2 18h 17y 1 2 18h 18l 1 2 18i 17x 1 2 18i 18l 1 2 18j 17w 1 2 18j 17x 1 2 18j \
        17y 1 2 18j 18k 1 2 18j 18l 1 2 18k 17w 1 2 18k 17x 1 2 18k 17y 1 2 18k 18l 1 2 18k 18n \
        1 2 18l 17w 1 2 18l 17x 1 2 18l 17y 1 2 18l 18l 1 2 18m 17w 1 2 18m 17x 1 2 18m 17y 1 2 \
        18m 18l 1 2 18m 18n 1 2 18n 17w 1 2 18n 18l 1 2 18n 19s 1 2 18q 17w 1 2 18q 17x 1 2 18q \
        17y 1 2 18q 18l 1 2 18q 18n 1 3 18q 190 18l 1 3 18q 190 18n 1 2 17s 18l 1 2 17s 18n 1 2 \
        17u 18l 1 2 17u 18n 1 2 17v 18l 1 2 17v 18n 1 2 183 18l 1 2 183 18n 1 2 184 18l 1 2 184 \
        18n 1 2 18j 18k 1 2 18j 18l 1 2 18k 18l 1 2 18m 18l 1 2 18m 18n 1 2 18q 18l 1 2 18q 18n \
        1 3 18g 18u 18x 1 3 18g 18v 18x 1 3 18g 18w 18x 1 2 187 18p 1 2 187 18q 1 2 189 18p 1 2 \
        189 18q 1 2 18a 18p 1 2 18a 18q 1 2 183 18p 1 2 183 18q 1 2 184 18p 1 2 184 18q 1 2 17x \
        18p 1 2 17x 18q 1 2 17w 18p 1 2 17w 18q 1 2 17y 18p 1 2 17y 18q 1 2 185 18p 1 2 185 18q \
        1 2 186 18p 1 2 186 18q 1 2 184 17w 1 2 184 17x 1 2 184 17y 1 2 184 18l 1 2 184 181 1 2 \
        183 181 1 2 185 181 1 2 186 181 1 2 187 18p 1 2 187 18q 1 2 189 18p 1 2 189 18q 1 2 18a \
        18p 1 2 18a 18q 1 2 183 18p 1 2 183 18q 1 2 184 18p 1 2 184 18q 1 2 17x 18p 1 2 17x 18q \
        1 2 17w 18p 1 2 17w 18q 1 2 17y 18p 1 2 17y 18q 1 2 185 18p 1 2 185 18q 1 2 186 18p 1 2 \
        186 18q 1 2 184 17w 1 2 184 17x 1 2 184 17y 1 2 184 18l 1 2 184 181 1 2 183 181 1 2 185 \
        181 1 2 186 181 1 2 184 17w 1 2 184 17x 1 2 184 17y 1 2 184 18l 1 2 183 18n 1 2 184 18n \
        1 2 187 18l 1 2 183 17w 1 2 183 17x 1 2 183 17y 1 2 184 17w 1 2 184 17x 1 2 184 17y 1 2 \
        187 18l 1 2 188 18l 1 2 17r 18r 1 2 17r 18r 11 3 17u 17w 18l 1 3 17u 17x 17w 1 3 17u 17x \
        17w 1 3 17u 17x 18l 1 3 17u 17y 18l 1 3 17u 18l 17w 1 3 17u 18l 17x 1 3 17u 18l 17y 1 3 \
        17w 18l 17x 1 3 17w 18l 17x 1 3 17x 18l 18q 1 3 17x 18l 18p 1 3 183 17x 17w 1 3 183 17w \
        17x 1 3 183 17w 18p 1 3 183 18l 17x 1 3 183 18l 17x 1 3 183 18l 17w 1 3 183 18l 18l 1 3 \
        183 18l 18l 1 3 185 17x 17x 1 3 185 17x 17x 1 3 185 18l 18l 1 3 184 17x 18l 1 3 184 17x \
        18l 1 3 184 17w 18q 1 3 184 18l 17y 1 3 184 18l 17y 1 3 184 18l 18l 1 3 184 18l 18l 1 3 \
        186 17x 18p 1 3 186 17y 18l 1 3 186 17y 18l 1 3 187 18l 17x 1 3 187 18l 17x 1 3 187 18l \
        18l 1 3 187 18l 18q 1 3 189 17w 18l 1 3 189 18l 18l 1 3 189 18l 18l 1 3 189 18l 18p 1 3 \
        18a 18l 18l 1 3 18a 18l 18q 1 3 18a 18l 18p 1 3 18h 17y 18l 1 3 18h 17y 18l 1 3 18i 18l \
        17x 1 3 18i 18l 18l 1 3 18k 17x 18l 1 3 18k 17x 18q 1 3 18k 17x 18p 1 3 18k 17w 17w 1 3 \
        18k 17w 17w 1 3 18k 17y 18l 1 3 18k 17y 18l 1 3 18k 18l 17x 1 3 18k 18l 17x 1 3 18l 17x \
        17w 1 3 18l 17x 18l 1 3 18l 17x 18q 1 3 18l 17w 17x 1 3 18l 17w 18l 1 3 18l 17y 17w 1 3 \
        18l 17y 18l 5 3 18l 17w 17y 1 3 18n 18l 17w 1 3 18n 18l 18l 1 3 18m 17x 18l 1 3 18m 17x \
        18p 1 3 18m 17w 18l 1 3 18m 17w 18l 1 3 18m 17w 18p 1 3 18m 18l 18q 1 3 18m 18l 18p 1 3 \
        18q 18l 18l 1 3 18q 18l 18l 1 3 17s 17y 18q 1 3 17u 17w 18q 1 3 17u 17w 18p 1 3 17u 17y \
        18q 1 3 17u 17y 18p 1 3 17u 18l 18q 1 3 17u 18l 18p 1 3 17w 18l 18q 1 3 17w 17x 18p 1 3 \
        17w 18l 18p 1 3 183 17y 18p 1 3 185 17x 18q 1 3 184 17x 18q 1 3 186 17x 18q 1 3 18k 17w \
        18q 1 3 18k 18l 18q 1 3 18q 17x 18q 1 3 18q 17w 18q 1 3 18q 18l 18q 1 3 18l 18l 18q 1 3 \
        18i 18l 18q 1 3 18m 17x 18q 1 3 18i 18l 17x 1 3 18k 17x 18l 1 3 189 18l 18q 1 3 18j 18l \
        18q 1 3 18m 17w 17x 1 3 18l 17y 18q 1 3 18k 17w 18l 1 3 18j 18l 18l 1 3 18k 17w 18l 1 3 \
        18m 17w 17x 1 3 17w 17x 18q 1 3 17x 17w 18q 1 3 18l 17w 18q 1 3 18h 18l 18q 1 3 17s 17x \
        18q 1 3 18j 18l 18l 1 3 189 17w 18l 1 3 185 18l 18l 1 3 183 17y 18q 1 3 18m 17w 18q 29 3 \
        185 18k 1ci 1 3 18i 18k 1ci 1 4 17r 18k 18k 18n 1 4 17r 18j 17s 181 1 4 18l 17x 18l 17z \
        1 4 185 18k 189 18l 1 4 181 183 18o 18k 1 4 189 18k 18q 18n 1 4 18o 183 18k 18l 1 3 185 \
        18k 18p 1 i 185 18k 18p w 17r 18k 18k 18n w 189 18k 18q 18n w 18o 183 18k 18l 1 8 17w \
        18k w 17w 18k 17r 18k 18n 1 4 181 1cc 17r 18k 2v 2 1a 1a 0 1 6c4 0 1 6c3 0 1 2n 0 1 2n 0 \
        2 14 0 1 3f 0 1 3h 0 2 9hw 0 2 9hs 0 2 9hm 0 2 9hk 0 4 9ho 9 2 w lh 1 2 w lh 1 2 w lh 1 \
        2 w lh 0 1 2n 0 1 2n 0 1 2n 0 1 18 0 1 9hd 0 1 1a 2 1 1n 0 1 1m 0 1 1r 0 1 x 0 1 6c4 0 2 \
        14 0 1 3f 0 1 3h 0 2 9hw 0 1 z 0 1 12 0 2 16 0 1 19 0 1 1o 0 1 1q 0 1 1p 2 1 2k 0 2 10 0 \
        1 1s 9 2 w 18r 1 2 18g 18r 1 2 w 18s 3 2 w 18t 3 2 w 18u 1 2 18g 18u 1 2 w 18v 1 2 18g \
        18v 1 2 w 18w 1 2 18g 18w 1 2 w 18x 1 2 18g 18x 1 2 w 18y 1 2 18g 18y 0 1 17l 1 2 17r \
        18z 1 2 17r 18z 1 2 17r 190 1 2 17r 190 1 2 18o 190 1 2 18o 190 1 2 17r 191 1 2 17r 191 \
        1 2 18q 190 1 2 18q 190 1 2 18q 190 1 2 18q 190 0 1 17r 0 2 17r 0 1 17s 0 1 17s 0 2 17s \
        0 2 17t 0 1 17u 0 1 17u 0 2 17u 0 1 17v 0 1 17v 0 2 17v 0 1 17w 0 1 17w 0 2 17w 0 1 17x \
        0 1 17x 0 2 17x 0 1 17y 0 1 17y 0 2 17y 0 2 17z 0 2 180 0 2 181 0 2 182 0 1 183 0 1 183 \
        0 2 183 0 1 184 0 1 184 0 2 184 0 1 185 0 1 185 0 2 185 0 1 186 0 1 186 0 2 186 0 1 187 \
        0 1 187 0 2 187 0 1 188 0 1 188 0 2 188 0 1 189 0 1 189 0 2 189 0 1 18a 0 1 18a 0 1 18a \
        0 1 18h 0 1 18h 0 1 18h 0 2 18h 0 1 18i 0 1 18i 0 2 18i 0 1 18j 0 1 18j 0 2 18j 0 1 18k \
        0 1 18k 0 2 18k 0 1 18l 0 1 18l 0 2 18l 0 1 18m 0 1 18m 0 2 18m 0 1 18n 0 1 18n 0 2 18n \
        0 2 18o 0 2 18p 0 1 18q 0 1 18q 0 1 18q 1 3 18k 17r 18z 1 3 18k 17r 18z 1 3 18k 17r 190 \
        1 3 18k 17r 190 1 3 18k 17r 191 1 3 18k 17r 191 1 2 18k 17r 1 2 18k 17r 8 2m x 0 2 879 0 \
        1 9he 0 2 9ho 0 1 9hd 0 1 9ob 0 1 9o2 0 1 9lt 0 1 9lv 0 1 9lx 0 1 9lz 0 1 9m1 0 1 9nn 0 \
        1 9np 0 1 9nr 0 1 9mr 0 1 9oc 0 1 9lu 0 1 9lw 0 1 9ly 0 1 9m0 0 2 9m2 0 1 9m5 0 1 9m7 0 \
        1 9m9 0 1 9mb 0 1 9md 0 1 9mf 0 1 9mh 0 1 9mj 0 1 9ml 0 1 9mn 0 1 9mp 0 1 9ms 0 1 9mu 0 \
        1 9mw 0 6 9my 0 1 9n6 0 1 9n9 0 1 9nc 0 1 9nf 0 5 9ni 0 1 9no 0 1 9nq 0 6 9ns 0 1 9nz 0 \
        1 9o3 0 2 9ll 0 1 3fk 0 2 3cw 0 1 3hm 0 1 3cy 0 2 3ho 0 3 3cz 0 6 3hs 0 1 3dm 0 3 3d2 0 \
        1 3dt 0 a 3d5 6 6 3fl 4 6 3fr 4 6 3fx 4 3 3g3 6 2 4i 0 1 4s 1 2 w lg 0 1 4m 0 1 4l 0 1 \
        6g9 2 1 7b6 0 4 6mo 0 1 7fk 0 1 7gr 2aqn 2 2jx3 2jxh 1 2 2jx4 2jxh 1 3 2jx4 2jxh 2jxq 1 \
        3 2jx4 2jxh 2jxr 1 3 2jx4 2jxh 2jxs 1 3 2jx4 2jxh 2jxt 1 3 2jx4 2jxh 2jxu 4t 2 2jzt 2jxh \
        1 2 2jzu 2jxh 1 3 2jzt 2jxh 2jxq 1 3 2jzu 2jxh 2jxq 1 3 2jzt 2jxh 2jxr 1 3 2jzu 2jxh \
        2jxr vy q 1t 0 q 2p 0 q 1t 0 7 2p 2 i 2x 0 q 1t 0 q 2p 0 1 1t 2 2 1v 4 1 1z 4 2 22 4 4 \
        26 2 8 2b 0 4 2p 2 1 2u 2 4 2w 2 2 31 2 b 34 0 q 1t 0 q 2p 0 2 1t 2 4 1w 4 8 22 2 7 2b 2 \
        q 2p 0 2 1t 2 4 1w 2 5 21 2 1 27 6 7 2b 2 q 2p 0 q 1t 0 q 2p 0 q 1t 0 q 2p 0 q 1t 0 q 2p \
        0 q 1t 0 q 2p 0 q 1t 0 q 2p 0 q 1t 0 q 2p 8 h pd 0 1 pk 0 7 pv 0 1 6pz 0 p q9 0 1 6pu 0 \
        1 qd 0 1 qg 0 1 qi 0 1 qu 0 1 qp 0 1 qo 0 h pd 0 1 pk 0 7 pv 0 1 6pz 0 p q9 0 1 6pu 0 1 \
        qd 0 1 qg 0 1 qi 0 1 qu 0 1 qp 0 1 qo 0 h pd 0 1 pk 0 7 pv 0 1 6pz 0 p q9 0 1 6pu 0 1 qd \
        0 1 qg 0 1 qi 0 1 qu 0 1 qp 0 1 qo 0 h pd 0 1 pk 0 7 pv 0 1 6pz 0 p q9 0 1 6pu 0 1 qd 0 \
        1 qg 0 1 qi 0 1 qu 0 1 qp 0 1 qo 0 h pd 0 1 pk 0 7 pv 0 1 6pz 0 p q9 0 1 6pu 0 1 qd 0 1 \
        qg 0 1 qi 0 1 qu 0 1 qp 0 1 qo 8 a 1c 0 a 1c 0 a 1c 0 a 1c 0 a 1c 35s0 1 fgd 0 1 fg8 0 1 \
        fgh 0 1 2tcy 0 1 fog 0 1 fqm 0 1 fqz 0 1 fsy 0 1 fwa 0 1 fx5 0 1 fzb 0 1 fyn 0 1 ae6 0 1 \
        2ud6 0 1 g25 0 1 g2c 0 1 g2s 0 1 g3b 0 1 2u58 0 1 aex 0 1 g2v 0 1 g3x 0 1 2u6j 0 1 g47 0 \
        1 g4k 0 1 fkc 0 1 g4s 0 1 g51 0 1 3ly7 0 1 g6t 0 1 g77 0 1 afz 0 1 g8r 0 1 g92 0 1 gaa 0 \
        1 gaf 0 1 ahh 0 1 gcn 0 1 gcp 0 1 gdg 0 1 ge2 0 2 ged 0 1 gev 0 1 gg9 0 1 ggh 0 1 ggq 0 \
        1 ghf 0 1 ghp 0 1 ghr 0 1 ghr 0 1 ghr 0 1 2v58 0 1 m7k 0 1 gju 0 1 gkf 0 1 2vdv 0 1 gkr \
        0 1 gkx 0 1 gli 0 1 gpq 0 1 gmw 0 1 gnc 0 1 go8 0 1 gpu 0 1 gs6 0 1 gsw 0 1 gur 0 1 gv7 \
        0 1 gw4 0 1 gw4 0 1 gwp 0 1 gx7 0 1 gxf 0 1 gxu 0 1 h7a 0 1 gzq 0 1 h7b 0 1 h1t 0 1 h2s \
        0 1 g7b 0 1 hke 0 1 hce 0 1 hdg 0 1 he5 0 1 haj 0 1 hf6 0 1 hf5 0 1 hik 0 1 2x9g 0 1 hki \
        0 1 hkn 0 1 hl2 0 1 hlm 0 1 hlu 0 1 hnm 0 1 2xm0 0 1 2xnu 0 1 hrg 0 1 hsr 0 1 ht3 0 1 \
        hqw 0 1 huu 0 1 aum 0 1 av0 0 1 hzc 0 1 i0u 0 1 i0u 0 1 2y88 0 1 i4j 0 1 i54 0 1 i5j 0 1 \
        i5v 0 1 2yhk 0 1 i67 0 1 i6e 0 1 itv 0 1 i76 0 1 ayp 0 1 i8w 0 1 i9a 0 1 ibk 0 1 ia5 0 1 \
        2z1g 0 1 if7 0 1 2z1i 0 1 ige 0 1 igb 0 1 igs 0 2 ijl 0 1 b3j 0 1 ikd 0 1 ilk 0 1 im5 0 \
        1 ind 0 1 b4y 0 1 2zr7 0 1 b5o 0 1 ipc 0 1 ipf 0 1 ipi 0 1 iq2 0 1 3pg2 0 1 iri 0 1 3035 \
        0 1 3035 0 1 poh 0 1 isi 0 1 isi 0 1 b7r 0 1 335k 0 1 3cgq 0 1 iua 0 1 iuj 0 1 b8j 0 1 \
        ivu 0 1 ix9 0 1 ixj 0 1 iyh 0 1 j29 0 1 bay 0 1 ba4 0 1 j2s 0 1 30t0 0 1 j47 0 1 j7s 0 1 \
        j7w 0 1 j7y 0 1 j7w 0 1 j96 0 1 j9q 0 1 jaq 0 1 jac 0 1 jan 0 1 jby 0 1 jci 0 1 jcm 0 1 \
        jdc 0 1 jdn 0 1 jfh 0 1 jht 0 1 jis 0 1 jm8 0 1 31n0 0 1 jlp 0 1 jjw 0 1 jmw 0 1 jnn 0 1 \
        jqc 0 1 31td 0 1 js2 0 1 jph 0 1 jop 0 1 bhq 0 1 ju1 0 1 jum 0 1 jvh 0 1 juf 0 1 bjg 0 1 \
        k0f 0 1 k18 0 1 32mi 0 1 k4j 0 1 kc8 0 1 k7d 0 1 bo9 0 1 k9d 0 1 bns 0 1 bms 0 1 g42 0 1 \
        g45 0 1 kcg 0 1 k9o 0 1 pf1 0 1 deh 0 1 kd3 0 1 kd7 0 1 kdd 0 1 kf2 0 1 ker 0 1 33cz 0 1 \
        bpl 0 1 kje 0 1 kg5 0 1 klu 0 1 kn9 0 1 33hp 0 1 kni 0 1 kkf 0 1 kr8 0 1 brx 0 1 ksi 0 1 \
        kv7 0 1 kx6 0 1 l2g 0 1 33xf 0 1 l3v 0 1 bvc 0 1 l5t 0 1 34br 0 1 l78 0 1 bwu 0 1 l82 0 \
        1 l9b 0 2 la2 0 1 34p9 0 1 2yvf 0 1 34sa 0 1 le6 0 1 354s 0 1 lhb 0 1 lhp 0 1 lev 0 1 \
        ljq 0 1 lku 0 1 lmf 0 1 lkx 0 1 lm1 0 1 lmg 0 1 lmt 0 1 357i 0 1 lkk 0 1 lrj 0 1 lta 0 1 \
        c37 0 1 lvv 0 1 lvr 0 1 35jl 0 1 lq1 0 1 m0e 0 1 35ni 0 1 35ou 0 1 m2u 0 1 m61 0 1 m5a 0 \
        1 m57 0 1 c5y 0 1 m6i 0 1 m7x 0 1 m7r 0 1 m99 0 1 2u5h 0 1 mdh 0 1 368z 0 1 mfw 0 1 36i3 \
        0 1 mjs 0 1 mk5 0 1 mkw 0 1 36yw 0 1 mm8 0 1 mmt 0 1 3779 0 1 37dg 0 1 mt6 0 1 mtn 0 1 \
        cdo 0 1 mud 0 1 ce0 0 1 ce0 0 1 myv 0 1 mzg 0 1 n01 0 1 n0l 0 1 n2i 0 1 cgr 0 1 n50 0 1 \
        386u 0 1 n5q 0 1 389e 0 1 n74 0 1 2zrz 0 1 nbk 0 1 38v5 0 1 38vs 0 1 38zo 0 1 cn0 0 1 \
        cnc 0 1 nhw 0 1 394j 0 1 394i 0 1 395l 0 1 396b 0 2 nj2 0 1 nj3 0 1 nka 0 1 cop 0 1 nm3 \
        0 1 cp2 0 1 cra 0 1 39r1 0 1 nri 0 1 nt8 0 1 nv0 0 1 ctf 0 1 3a5i 0 1 nyu 0 1 3a8q 0 1 \
        3a9x 0 1 o0f 0 1 o2z 0 1 cvj 0 1 o5c 0 1 o5m 0 1 o5r 0 1 3at8 0 1 3b1j 0 1 3b1j 0 1 oa6 \
        0 1 d1e 0 1 3b8r 0 1 og6 0 1 og9 0 1 d2f 0 1 3beo 0 1 onm 0 1 d5s 0 1 oo8 0 1 oo3 0 1 \
        oow 0 1 3c06 0 1 orn 0 1 d8h 0 1 ouf 0 1 ow2 0 1 oxx 0 1 d9w 0 1 3ciw 0 1 3cjr 0 1 dax 0 \
        1 3cnt 0 1 p6i 0 1 3cqm 0 1 p79 0 1 pa2 0 1 pad 0 1 3d22 0 1 3d43 0 1 pcw 0 1 3d7s 0 1 \
        pdc 0 1 33a7 0 1 ded 0 1 pf6 0 1 phf 0 1 dfv 0 1 pj2 0 1 hx1 0 1 3dlz 0 1 3dmd 0 1 33bn \
        0 1 33bw 0 1 poh 0 1 pok 0 1 sda 0 1 dij 0 1 psh 0 1 psb 0 1 pst 0 1 gc3 0 1 ptd 0 1 ptf \
        0 1 ptp 0 1 puu 0 1 3ebg 0 1 put 0 1 pwd 0 1 pyb 0 1 q0d 0 1 pwj 0 1 q0t 0 1 q1z 0 1 q53 \
        0 1 pxv 0 1 q16 0 1 q18 0 1 q1o 0 1 3eie 0 1 3eqz 0 1 3emt 0 1 dnv 0 1 q9d 0 1 q9f 0 1 \
        qae 0 1 3g0a 0 1 qck 0 1 3f3g 0 1 dp9 0 1 dpd 0 1 3f75 0 1 3ff6 0 1 dpn 0 1 qj4 0 1 qjg \
        0 1 qjr 0 1 qjt 0 1 qll 0 1 qko 0 1 qoe 0 1 qn6 0 1 qrd 0 1 qp4 0 1 qqz 0 1 qrq 0 1 dsn \
        0 1 qu9 0 1 qv5 0 1 dtl 0 1 qxs 0 1 qxv 0 1 3giv 0 1 r13 0 1 r1a 0 1 dv9 0 1 r22 0 1 aez \
        0 1 3gz2 0 1 3h46 0 1 dz2 0 1 dzb 0 1 rds 0 1 rfx 0 1 rka 0 1 rpx 0 1 3hrc 0 1 rsb 0 1 \
        rsx 0 1 rvf 0 1 rxz 0 1 3i9b 0 1 2upw 0 1 s0b 0 1 rzw 0 1 s1c 0 1 2uvy 0 1 s7o 0 1 sag 0 \
        1 3jki 0 1 3jl9 0 1 sk4 0 1 smp 0 1 snl 0 1 3ju6 0 1 snv 0 1 svs 0 2 t07 0 1 sxo 0 1 t89 \
        0 1 t91 0 1 3ksa 0 1 tjf 0 1 ej9 0 1 tkn 0 1 3l2v 0 1 eli 0 1 ts3 0 1 iia 0 1 tur 0 1 \
        3ltx 0 1 3lzu 0 1 epa 0 1 epi 0 1 u00 0 1 3mdm 0 1 er6 0 1 3mhi 0 1 u17 0 1 u17 0 1 u21 \
        0 1 3mpi 0 1 u76 0 1 eur 0 1 u95 0 1 ucn 0 1 ude 0 1 uf2 0 1 ez2 0 1 3nsg 0 1 umq 0 1 \
        uv4 0 1 v0d 0 1 f66 0 1 f71 0 1 v3b 0 1 3owe 0 1 f7c 0 1 3oxx 0 1 3p5a 0 1 3p8x 0 1 vcr \
        0 1 f9y 0 1 veh 0 1 vem 0 1 vet 0 1 vf3 0 1 vfa 0 1 vgb 0 1 3pxc
        """

    /// Which two codes become one in form NFC: see `NormalForm`.
    static let compositions: StaticString =
        """
        1o mw 6su 1 mw 6sg 1 mw 6sv 3 lc 5c 0 ld 5d 0 le 5e 0 lf 5f 0 lg 74 0 li 76 0 lj fa 0 lk \
        5g 0 ll 61u 0 lm 5h 0 lo ct 0 lr e8 0 lt ea 0 mb 61s 0 md 5xc 0 mg 78 1 lj 5xe 0 mb 5xg \
        0 mp 5xi 1 ld 7a 0 le 7c 0 lj 7e 0 lo 7g 0 mf 5j 1 lj 5xm 0 lo 7i 0 mb 5xo 0 mf 5xs 0 ml \
        5xu 0 mp 5xq 1 lc 5k 0 ld 5l 0 le 5m 0 lf 62k 0 lg 7m 0 li 7o 0 lj 7q 0 lk 5n 0 ll 62i 0 \
        lo 7u 0 lr ec 0 lt ee 0 mb 62g 0 mf fc 0 mg 7s 0 ml 5y0 0 mo 5y2 1 lj 5y6 1 ld dw 0 le \
        7w 0 lg 5y8 0 li 7y 0 lj 80 0 lo di 0 mf 82 1 le 84 0 lj 5ya 0 lk 5ye 0 lo f2 0 mb 5yc 0 \
        mf 5yg 0 mm 5yi 1 lc 5o 0 ld 5p 0 le 5q 0 lf 88 0 lg 8a 0 li 8c 0 lj 8g 0 lk 5r 0 ll 62w \
        0 lo cv 0 lr eg 0 lt ei 0 mb 62y 0 mg 8e 0 mo 5yk 1 le 8k 1 ld 5yo 0 lo dk 0 mb 5yq 0 mf \
        8m 0 mp 5ys 1 ld 8p 0 lo 8t 0 mb 5yu 0 mf 8r 0 ml 5z0 0 mp 5yy 1 ld 5z2 0 lj 5z4 0 mb \
        5z6 1 lc e0 0 ld 8z 0 lf 5t 0 lj 5z8 0 lo 93 0 mb 5za 0 mf 91 0 ml 5ze 0 mp 5zc 1 lc 5u \
        0 ld 5v 0 le 5w 0 lf 5x 0 lg 98 0 li 9a 0 lj fi 0 lk 5y 0 ll 632 0 ln 9c 0 lo cx 0 lr ek \
        0 lt em 0 m3 bk 0 mb 630 0 mg dm 1 ld 5zo 0 lj 5zq 2 ld 9g 0 lj 5zs 0 lo 9k 0 lr eo 0 lt \
        eq 0 mb 5zu 0 mf 9i 0 mp 5zy 1 ld 9m 0 le 9o 0 lj 600 0 lo 9s 0 mb 602 0 me ew 0 mf 9q 1 \
        lj 60a 0 lo 9w 0 mb 60c 0 me ey 0 mf 9u 0 ml 60g 0 mp 60e 1 lc 61 0 ld 62 0 le 63 0 lf \
        a0 0 lg a2 0 li a4 0 lk 64 0 ll 63q 0 lm a6 0 ln a8 0 lo cz 0 lr es 0 lt eu 0 m3 bz 0 mb \
        63o 0 mc 60i 0 mg aa 0 ml 60m 0 mo 60k 1 lf 60s 0 mb 60u 1 lc 60w 0 ld 60y 0 le ac 0 lj \
        612 0 lk 610 0 mb 614 1 lj 616 0 lk 618 1 lc 642 0 ld 65 0 le ae 0 lf 648 0 lg fm 0 lj \
        61a 0 lk ag 0 ll 646 0 mb 644 1 ld ah 0 le 61c 0 lj aj 0 lo al 0 mb 61e 0 mp 61g 7 lc 68 \
        0 ld 69 0 le 6a 0 lf 6b 0 lg 75 0 li 77 0 lj fb 0 lk 6c 0 ll 61v 0 lm 6d 0 lo cu 0 lr e9 \
        0 lt eb 0 mb 61t 0 md 5xd 0 mg 79 1 lj 5xf 0 mb 5xh 0 mp 5xj 1 ld 7b 0 le 7d 0 lj 7f 0 \
        lo 7h 0 mf 6f 1 lj 5xn 0 lo 7j 0 mb 5xp 0 mf 5xt 0 ml 5xv 0 mp 5xr 1 lc 6g 0 ld 6h 0 le \
        6i 0 lf 62l 0 lg 7n 0 li 7p 0 lj 7r 0 lk 6j 0 ll 62j 0 lo 7v 0 lr ed 0 lt ef 0 mb 62h 0 \
        mf fd 0 mg 7t 0 ml 5y1 0 mo 5y3 1 lj 5y7 1 ld dx 0 le 7x 0 lg 5y9 0 li 7z 0 lj 81 0 lo \
        dj 0 mf 83 1 le 85 0 lj 5yb 0 lk 5yf 0 lo f3 0 mb 5yd 0 mf 5yh 0 mm 5yj 0 mp 61i 1 lc 6k \
        0 ld 6l 0 le 6m 0 lf 89 0 lg 8b 0 li 8d 0 lk 6n 0 ll 62x 0 lo cw 0 lr eh 0 lt ej 0 mb \
        62z 0 mg 8f 0 mo 5yl 1 le 8l 0 lo ds 1 ld 5yp 0 lo dl 0 mb 5yr 0 mf 8n 0 mp 5yt 1 ld 8q \
        0 lo 8u 0 mb 5yv 0 mf 8s 0 ml 5z1 0 mp 5yz 1 ld 5z3 0 lj 5z5 0 mb 5z7 1 lc e1 0 ld 90 0 \
        lf 6p 0 lj 5z9 0 lo 94 0 mb 5zb 0 mf 92 0 ml 5zf 0 mp 5zd 1 lc 6q 0 ld 6r 0 le 6s 0 lf \
        6t 0 lg 99 0 li 9b 0 lj fj 0 lk 6u 0 ll 633 0 ln 9d 0 lo cy 0 lr el 0 lt en 0 m3 bl 0 mb \
        631 0 mg dn 1 ld 5zp 0 lj 5zr 2 ld 9h 0 lj 5zt 0 lo 9l 0 lr ep 0 lt er 0 mb 5zv 0 mf 9j \
        0 mp 5zz 1 ld 9n 0 le 9p 0 lj 601 0 lo 9t 0 mb 603 0 me ex 0 mf 9r 1 lj 60b 0 lk 61j 0 \
        lo 9x 0 mb 60d 0 me ez 0 mf 9v 0 ml 60h 0 mp 60f 1 lc 6x 0 ld 6y 0 le 6z 0 lf a1 0 lg a3 \
        0 li a5 0 lk 70 0 ll 63r 0 lm a7 0 ln a9 0 lo d0 0 lr et 0 lt ev 0 m3 c0 0 mb 63p 0 mc \
        60j 0 mg ab 0 ml 60n 0 mo 60l 1 lf 60t 0 mb 60v 1 lc 60x 0 ld 60z 0 le ad 0 lj 613 0 lk \
        611 0 lm 61k 0 mb 615 1 lj 617 0 lk 619 1 lc 643 0 ld 71 0 le af 0 lf 649 0 lg fn 0 lj \
        61b 0 lk 73 0 ll 647 0 lm 61l 0 mb 645 1 ld ai 0 le 61d 0 lj ak 0 lo am 0 mb 61f 0 mp \
        61h 1a lc 6b1 0 ld p1 0 n6 69t q lc 61y 0 ld 61w 0 lf 622 0 ll 620 2 lg da 1 ld e2 1 ld \
        e4 0 lg de 1 ld 5xk 3 lc 62o 0 ld 62m 0 lf 62s 0 ll 62q 5 ld 5ym 5 lc 636 0 ld 634 0 lf \
        63a 0 ll 638 1 ld 5zg 0 lg fg 0 lk 5zi 1 lg fe 2 ld e6 4 lc d7 0 ld d3 0 lg d1 0 lo d5 6 \
        lc 61z 0 ld 61x 0 lf 623 0 ll 621 2 lg db 1 ld e3 1 ld e5 0 lg df 1 ld 5xl 3 lc 62p 0 ld \
        62n 0 lf 62t 0 ll 62r 5 ld 5yn 5 lc 637 0 ld 635 0 lf 63b 0 ll 639 1 ld 5zh 0 lg fh 0 lk \
        5zj 1 lg ff 2 ld e7 4 lc d8 0 ld d4 0 lg d2 0 lo d6 6 lc 628 0 ld 626 0 lf 62c 0 ll 62a \
        1 lc 629 0 ld 627 0 lf 62d 0 ll 62b f lc 5xw 0 ld 5xy 1 lc 5xx 0 ld 5xz 1l lc 5zk 0 ld \
        5zm 1 lc 5zl 0 ld 5zn d lj 604 1 lj 605 5 lj 606 1 lj 607 7 ld 60o 1 ld 60p 1 lk 60q 1 \
        lk 60r k lj 61n x lc 63g 0 ld 63e 0 lf 63k 0 ll 63i 0 mb 63m 1 lc 63h 0 ld 63f 0 lf 63l \
        0 ll 63j 0 mb 63n e lc 63u 0 ld 63s 0 lf 63y 0 ll 63w 0 mb 640 1 lc 63v 0 ld 63t 0 lf \
        63z 0 ll 63x 0 mb 641 7 lo dq 1f lg do 1 lg dp 1n lg dc 1 lg dd 1 li 5y4 1 li 5y5 5 lg \
        fk 1 lg fl 2r lo dr 73 lc 69m 0 ld p2 0 lg 69l 0 li 69k 0 lv 64o 0 lw 64p 0 n9 69o 4 lc \
        6a0 0 ld p4 0 lv 654 0 lw 655 2 lc 6a2 0 ld p5 0 lv 65k 0 lw 65l 0 n9 6a4 2 lc 6ai 0 ld \
        p6 0 lg 6ah 0 li 6ag 0 lk q2 0 lv 660 0 lw 661 6 lc 6bc 0 ld p8 0 lv 66g 0 lw 66h 2 lw \
        6b0 4 lc 6ay 0 ld pa 0 lg 6ax 0 li 6aw 0 lk q3 0 lw 66x 4 lc 6be 0 ld pb 0 lv 67c 0 lw \
        67d 0 n9 6bg 3 n9 69g 2 n9 69w 3 lc 67k 0 ld q4 0 lg 69d 0 li 69c 0 lv 64g 0 lw 64h 0 n6 \
        69i 0 n9 69f 4 lc 67m 0 ld q5 0 lv 64w 0 lw 64x 2 lc 67o 0 ld q6 0 lv 65c 0 lw 65d 0 n6 \
        69y 0 n9 69v 2 lc 67q 0 ld q7 0 lg 6a9 0 li 6a8 0 lk qy 0 lv 65s 0 lw 65t 0 n6 6ae 6 lc \
        67s 0 ld r0 0 lv 668 0 lw 669 2 lv 6as 0 lw 6at 4 lc 67u 0 ld r1 0 lg 6ap 0 li 6ao 0 lk \
        qz 0 lv 66o 0 lw 66p 0 n6 6au 4 lc 67w 0 ld r2 0 lv 674 0 lw 675 0 n6 6ba 0 n9 6b7 1 lc \
        6aa 0 ld pc 0 n6 6af 1 lc 6aq 0 ld q8 0 n6 6av 3 n9 6b8 4 ld r7 0 lk r8 1g lk sn a li y8 \
        0 lk ya 3 ld sj 2 lc sg 0 li ye 0 lk sh 1 li xt 0 lk yk 1 lk ym 1 lc st 0 lg yq 0 li t5 \
        0 lk ys 2 ld ss 4 lk yu 5 lg z2 0 li su 0 lk z4 0 ln z6 4 lk z8 4 lk zc 2 lk z0 3 li y9 \
        0 lk yb 3 ld ur 2 lc uo 0 li yf 0 lk up 1 li xu 0 lk yl 1 lk yn 1 lc v1 0 lg yr 0 li u1 \
        0 lk yt 2 ld v0 4 lk yv 5 lg z3 0 li v2 0 lk z5 0 ln z7 4 lk z9 4 lk zd 2 lk z1 9 lk uv \
        u lr vq 1 lr vr 2r lk yi 1 lk yj f lk yy 1 lk yz 8u 18z 17m 0 190 17n 0 191 17p x 190 \
        17o 2 190 17q 3b 190 1c2 h 190 1cj 3 190 1c0 gj 1to 1t5 8 1to 1td 3 1to 1tg 44 1xa 1xn 0 \
        1xz 1xo ao 27y 28b 0 28m 288 0 28n 28c 23 2c7 2ac 1g 2bi 2bu 0 2c7 2bw 1 2bi 2bv 3j 2fq \
        2fc 3d 2j9 2io 7 2iq 2iy 0 2j9 2iv 0 2ja 2iw 4 2j9 2iz 3g 2m6 2mi 0 2mv 2mk 1 2m6 2mj 42 \
        2q2 2qi 0 2q7 2qk 0 2qn 2qm 3 2q2 2ql g9 372 36u 2s1 lg 5yw 1 lg 5yx z lg 5zw 1 lg 5zx 7 \
        lj 608 1 lj 609 1p le 624 0 li 62e 1 le 625 0 li 62f n le 62u 1 le 62v j le 63c 1 le 63d \
        1f lc 64i 0 ld 64k 0 n6 64m 0 n9 680 1 lc 64j 0 ld 64l 0 n6 64n 0 n9 681 1 n9 682 1 n9 \
        683 1 n9 684 1 n9 685 1 n9 686 1 n9 687 1 lc 64q 0 ld 64s 0 n6 64u 0 n9 688 1 lc 64r 0 \
        ld 64t 0 n6 64v 0 n9 689 1 n9 68a 1 n9 68b 1 n9 68c 1 n9 68d 1 n9 68e 1 n9 68f 1 lc 64y \
        0 ld 650 1 lc 64z 0 ld 651 7 lc 656 0 ld 658 1 lc 657 0 ld 659 7 lc 65e 0 ld 65g 0 n6 \
        65i 0 n9 68g 1 lc 65f 0 ld 65h 0 n6 65j 0 n9 68h 1 n9 68i 1 n9 68j 1 n9 68k 1 n9 68l 1 \
        n9 68m 1 n9 68n 1 lc 65m 0 ld 65o 0 n6 65q 0 n9 68o 1 lc 65n 0 ld 65p 0 n6 65r 0 n9 68p \
        1 n9 68q 1 n9 68r 1 n9 68s 1 n9 68t 1 n9 68u 1 n9 68v 1 lc 65u 0 ld 65w 0 n6 65y 1 lc \
        65v 0 ld 65x 0 n6 65z 7 lc 662 0 ld 664 0 n6 666 1 lc 663 0 ld 665 0 n6 667 7 lc 66a 0 \
        ld 66c 1 lc 66b 0 ld 66d 7 lc 66i 0 ld 66k 1 lc 66j 0 ld 66l 7 lc 66q 0 ld 66s 0 n6 66u \
        1 lc 66r 0 ld 66t 0 n6 66v 8 lc 66z 0 ld 671 0 n6 673 7 lc 676 0 ld 678 0 n6 67a 0 n9 \
        68w 1 lc 677 0 ld 679 0 n6 67b 0 n9 68x 1 n9 68y 1 n9 68z 1 n9 690 1 n9 691 1 n9 692 1 \
        n9 693 1 lc 67e 0 ld 67g 0 n6 67i 0 n9 694 1 lc 67f 0 ld 67h 0 n6 67j 0 n9 695 1 n9 696 \
        1 n9 697 1 n9 698 1 n9 699 1 n9 69a 1 n9 69b 1 n9 69e 4 n9 69u 8 n9 6b6 1m n9 69j 9 lc \
        6a5 0 ld 6a6 0 n6 6a7 7 n9 69z 1c n9 6bb 8 lc 6al 0 ld 6am 0 n6 6an b6 mw 6my 2 mw 6mz 2 \
        mw 6ni 1o mw 6od 2 mw 6of 2 mw 6oe 1b mw 6pw 5 mw 6q1 3 mw 6q4 o mw 6qs 2 mw 6qu n mw \
        6rl 7 mw 6ro 2 mw 6rr 3 mw 6rt 5 mw 6st k mw 6si 3 mw 6sw 1 mw 6sx d mw 6t0 1 mw 6t1 3 \
        mw 6t4 1 mw 6t5 3 mw 6tc 1 mw 6td 1 mw 6w0 1 mw 6w1 5 mw 6tg 1 mw 6th 3 mw 6tk 1 mw 6tl \
        a mw 6w2 1 mw 6w3 g mw 6uk 6 mw 6ul 1 mw 6um 2 mw 6un 7 mw 6wa 1 mw 6wb 1 mw 6wc 1 mw \
        6wd 2oh 9ll 9lg 5 9ll 9jg 2 9ll 9ji 2 9ll 9jk 2 9ll 9jm 2 9ll 9jo 2 9ll 9jq 2 9ll 9js 2 \
        9ll 9ju 2 9ll 9jw 2 9ll 9jy 2 9ll 9k0 2 9ll 9k2 3 9ll 9k5 2 9ll 9k7 2 9ll 9k9 7 9ll 9kg \
        0 9lm 9kh 3 9ll 9kj 0 9lm 9kk 3 9ll 9km 0 9lm 9kn 3 9ll 9kp 0 9lm 9kq 3 9ll 9ks 0 9lm \
        9kt y 9ll 9lq 9 9ll 9o4 5 9ll 9m4 2 9ll 9m6 2 9ll 9m8 2 9ll 9ma 2 9ll 9mc 2 9ll 9me 2 \
        9ll 9mg 2 9ll 9mi 2 9ll 9mk 2 9ll 9mm 2 9ll 9mo 2 9ll 9mq 3 9ll 9mt 2 9ll 9mv 2 9ll 9mx \
        7 9ll 9n4 0 9lm 9n5 3 9ll 9n7 0 9lm 9n8 3 9ll 9na 0 9lm 9nb 3 9ll 9nd 0 9lm 9ne 3 9ll \
        9ng 0 9lm 9nh k 9ll 9o7 1 9ll 9o8 1 9ll 9o9 1 9ll 9oa b 9ll 9oe
        """
}
